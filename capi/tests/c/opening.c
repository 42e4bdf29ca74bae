/* Ways to open a model: through a reader, its metadata alone, preloaded; progress; and logs. */

#include "check.h"

static char *data;
static uint64_t size;

static void load(void)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size = (uint64_t)ftell(file);
    rewind(file);
    data = (char *)malloc((size_t)size);
    CHECK(data != NULL && fread(data, 1, (size_t)size, file) == size);
    fclose(file);
}

/* What a reader or a progress callback has seen, and what it is to do. */
struct seen {
    pumice_options *opts;
    uint64_t bytes, done, total;
    size_t calls, stop_at;
    int32_t answer;
};

static int32_t answer(struct seen *seen)
{
    /* the options are in use; other handles are free to be used */
    pumice_options *other = NULL;
    CHECK(pumice_options_set_int(seen->opts, PUMICE_KEY_MODEL_MMAP, 1, NULL) == PUMICE_ERR_BUSY);
    CHECK(pumice_options_new(&other, NULL) == PUMICE_OK);
    pumice_options_free(other);
    return ++seen->calls == seen->stop_at ? seen->answer : PUMICE_CONTINUE;
}

static int32_t PUMICE_CALL read_data(void *user_data, uint64_t offset, void *dst, size_t len)
{
    struct seen *seen = (struct seen *)user_data;
    CHECK(offset == seen->bytes && len > 0 && offset + len <= size);
    memcpy(dst, data + offset, len);
    seen->bytes += len;
    return answer(seen);
}

static int32_t PUMICE_CALL see_progress(void *user_data, uint64_t done, uint64_t total)
{
    struct seen *seen = (struct seen *)user_data;
    CHECK(done > seen->done && done <= total && (seen->total == 0 || total == seen->total));
    seen->done = done;
    seen->total = total;
    return answer(seen);
}

static pumice_options *new_options(const char *key, int64_t value)
{
    pumice_options *opts = NULL;
    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    if (key != NULL)
        CHECK(pumice_options_set_int(opts, key, value, err) == PUMICE_OK);
    return opts;
}

static void readers(void)
{
    struct seen seen = {0};
    pumice_model *model = (pumice_model *)&model;
    pumice_session *session;
    size_t calls, i;

    seen.opts = new_options(NULL, 0);
    CHECK(pumice_model_open_reader(read_data, &seen, size, seen.opts, &model, err) == PUMICE_OK);
    CHECK(seen.bytes + 64 > size && seen.calls > 1);
    session = new_session(model, NULL, 0);
    pumice_model_free(model);
    {
        pumice_token token = 5;
        CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_OK);
    }
    pumice_session_free(session);

    /* stopped at each of its calls, whatever it says instead of going on */
    calls = seen.calls;
    for (i = 1; i <= calls; i++) {
        seen.bytes = seen.calls = 0;
        seen.stop_at = i;
        seen.answer = (int32_t)(i % 3) - 1 == PUMICE_CONTINUE ? 2 : (int32_t)(i % 3) - 1;
        model = (pumice_model *)&model;
        CHECK(pumice_model_open_reader(read_data, &seen, size, seen.opts, &model, err) == PUMICE_ERR_CANCELLED);
        CHECK(model == NULL && seen.calls == i && strstr(pumice_error_message(err), "reader") != NULL);
    }
    seen.stop_at = 0;

    /* a file that ends early, one that is none, no reader at all */
    seen.bytes = 0;
    CHECK(pumice_model_open_reader(read_data, &seen, 20000, seen.opts, &model, err) == PUMICE_ERR_FORMAT);
    seen.bytes = 0;
    CHECK(pumice_model_open_reader(read_data, &seen, 0, seen.opts, &model, err) == PUMICE_ERR_FORMAT);
    data[0] ^= 1;
    seen.bytes = 0;
    CHECK(pumice_model_open_reader(read_data, &seen, size, seen.opts, &model, err) == PUMICE_ERR_FORMAT);
    data[0] ^= 1;
    CHECK(pumice_model_open_reader(NULL, &seen, size, seen.opts, &model, err) == PUMICE_ERR_NULL && model == NULL);
    CHECK(pumice_model_open_reader(read_data, &seen, size, seen.opts, NULL, err) == PUMICE_ERR_NULL);
    pumice_options_free(seen.opts);
}

static void metadata_only(void)
{
    struct seen seen = {0};
    pumice_model *models[3] = {NULL, NULL, NULL}, *whole = open_model();
    pumice_session *session = (pumice_session *)&session;
    size_t i;

    seen.opts = new_options(PUMICE_KEY_MODEL_METADATA_ONLY, 1);
    CHECK(pumice_options_set_int(seen.opts, PUMICE_KEY_MODEL_METADATA_ONLY, 2, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_model_open_reader(read_data, &seen, size, seen.opts, &models[0], err) == PUMICE_OK);
    CHECK(seen.bytes < size / 4); /* no weights */
    CHECK(pumice_model_open(path, seen.opts, &models[1], err) == PUMICE_OK);
    CHECK(pumice_model_open_memory(data, (size_t)size, NULL, NULL, seen.opts, &models[2], err) == PUMICE_OK);
    for (i = 0; i < 3; i++) {
        static const char *names[] = {"weights", "kv", "scratch", "total"};
        pumice_token tokens[8], same[8];
        size_t count = 0, expected = 0, n;
        const char *text = NULL;
        int64_t value = 0, other = 1;
        for (n = 0; n < 4; n++) {
            CHECK(pumice_model_memory(models[i], NULL, names[n], &value, err) == PUMICE_OK);
            CHECK(pumice_model_memory(whole, NULL, names[n], &other, err) == PUMICE_OK && value == other);
        }
        CHECK(pumice_model_get_int(models[i], "n_vocab", &value, err) == PUMICE_OK);
        CHECK(pumice_model_get_int(whole, "n_vocab", &other, err) == PUMICE_OK && value == other);
        CHECK(pumice_model_get_string(models[i], "quant", &text, &count, err) == PUMICE_OK);
        CHECK(count == 4 && memcmp(text, "Q8_0", 4) == 0);
        CHECK(pumice_model_meta_string(models[i], "general.architecture", 0, &text, &count, err) == PUMICE_OK);
        CHECK(pumice_model_tokenize(models[i], "It was", 6, 0, tokens, 8, &count, err) == PUMICE_OK);
        CHECK(pumice_model_tokenize(whole, "It was", 6, 0, same, 8, &expected, err) == PUMICE_OK);
        CHECK(count == expected && memcmp(tokens, same, count * sizeof tokens[0]) == 0);
        CHECK(pumice_session_new(models[i], NULL, &session, err) == PUMICE_ERR_INVALID && session == NULL);
        pumice_model_free(models[i]);
    }
    pumice_options_free(seen.opts);
    pumice_model_free(whole);
}

static void progress(void)
{
    static const char *keys[] = {PUMICE_KEY_MODEL_PRELOAD, PUMICE_KEY_MODEL_MMAP};
    int i;
    for (i = 0; i < 4; i++) {
        struct seen seen = {0};
        pumice_model *model = NULL;
        seen.opts = new_options(keys[i % 2], i % 2 == 0);
        CHECK(pumice_options_set_progress(seen.opts, see_progress, &seen, err) == PUMICE_OK);
        seen.stop_at = i < 2 ? 0 : 1;
        CHECK(pumice_model_open(path, seen.opts, &model, err) == (i < 2 ? PUMICE_OK : PUMICE_ERR_CANCELLED));
        CHECK(seen.calls >= 1 && seen.total == size && (model != NULL) == (i < 2));
        CHECK(i >= 2 || seen.done == size);
        pumice_model_free(model);
        pumice_options_free(seen.opts);
    }
}

struct heard {
    int levels[6], drops;
    pumice_session *session;
};

static void PUMICE_CALL hear(void *user_data, int32_t level, const char *message, size_t len)
{
    struct heard *heard = (struct heard *)user_data;
    size_t count = 0;
    CHECK(level >= PUMICE_LOG_ERROR && level <= PUMICE_LOG_DEBUG && len > 0 && memchr(message, '\n', len) == NULL);
    heard->levels[level]++;
    if (heard->session != NULL)
        CHECK(pumice_session_output_count(heard->session, &count, NULL) == PUMICE_ERR_BUSY);
}

static void PUMICE_CALL count_drop(void *user_data)
{
    ((struct heard *)user_data)->drops++;
}

static void logs(void)
{
    struct heard heard = {{0}, 0, NULL}, second = {{0}, 0, NULL};
    pumice_options *opts = new_options(NULL, 0), *none = NULL;
    pumice_model *model = NULL;
    pumice_session *session = NULL;
    static const pumice_token tokens[3] = {1, 2, 3};

    /* what is not kept is dropped before the call returns */
    CHECK(pumice_options_set_log(opts, 5, hear, &heard, count_drop, err) == PUMICE_ERR_INVALID && heard.drops == 1);
    CHECK(pumice_options_set_log(opts, -1, hear, &heard, count_drop, err) == PUMICE_ERR_INVALID && heard.drops == 2);
    CHECK(pumice_options_set_log(none, 1, hear, &heard, count_drop, err) == PUMICE_ERR_NULL && heard.drops == 3);
    CHECK(pumice_options_set_log(opts, PUMICE_LOG_OFF, hear, &heard, count_drop, err) == PUMICE_OK && heard.drops == 4);
    CHECK(pumice_options_set_log(opts, PUMICE_LOG_INFO, NULL, &heard, count_drop, err) == PUMICE_OK && heard.drops == 5);
    heard.drops = 0;

    CHECK(pumice_options_set_log(opts, PUMICE_LOG_DEBUG, hear, &second, count_drop, err) == PUMICE_OK);
    CHECK(pumice_options_set_log(opts, PUMICE_LOG_DEBUG, hear, &heard, count_drop, err) == PUMICE_OK);
    CHECK(second.drops == 1 && heard.drops == 0);
    CHECK(pumice_model_open(path, opts, &model, err) == PUMICE_OK);
    CHECK(heard.levels[PUMICE_LOG_INFO] == 1);
    CHECK(pumice_session_new(model, opts, &session, err) == PUMICE_OK && heard.levels[PUMICE_LOG_INFO] == 2);
    CHECK(heard.levels[PUMICE_LOG_DEBUG] == 0);
    heard.session = session;
    CHECK(pumice_session_decode(session, tokens, 3, err) == PUMICE_OK && heard.levels[PUMICE_LOG_DEBUG] == 1);
    heard.session = NULL;

    /* the last of options, model and session drops it */
    pumice_options_free(opts);
    pumice_model_free(model);
    CHECK(heard.drops == 0);
    CHECK(pumice_session_decode(session, tokens, 1, err) == PUMICE_OK && heard.levels[PUMICE_LOG_DEBUG] == 2);
    pumice_session_free(session);
    CHECK(heard.drops == 1 && second.drops == 1 && second.levels[PUMICE_LOG_INFO] == 0);

    /* lower levels only */
    opts = new_options(NULL, 0);
    memset(heard.levels, 0, sizeof heard.levels);
    CHECK(pumice_options_set_log(opts, PUMICE_LOG_WARN, hear, &heard, NULL, err) == PUMICE_OK);
    CHECK(pumice_model_open(path, opts, &model, err) == PUMICE_OK);
    CHECK(heard.levels[PUMICE_LOG_INFO] == 0 && heard.levels[PUMICE_LOG_DEBUG] == 0);
    pumice_options_free(opts);
    pumice_model_free(model);
    CHECK(heard.drops == 1);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    load();
    readers();
    metadata_only();
    progress();
    logs();
    free(data);
    pumice_error_free(err);
    return 0;
}
