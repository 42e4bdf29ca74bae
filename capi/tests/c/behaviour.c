/*
 * What pumice.h promises, from C: behaviour MODEL. Writes nothing unless a check fails, so that whatever the library
 * might write to stdout or stderr is seen.
 */

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* With two threads. */
static pumice_session *two_threads(const pumice_model *model)
{
    pumice_options *opts = NULL;
    pumice_session *session = NULL;
    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_THREADS, 2, err) == PUMICE_OK);
    CHECK(pumice_session_new(model, opts, &session, err) == PUMICE_OK);
    pumice_options_free(opts);
    return session;
}

static pumice_sampler *greedy(const pumice_model *model)
{
    pumice_options *opts = NULL;
    pumice_sampler *sampler = NULL;
    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, 0.0, err) == PUMICE_OK);
    CHECK(pumice_sampler_new(model, opts, &sampler, err) == PUMICE_OK);
    pumice_options_free(opts);
    return sampler;
}

static void errors(void)
{
    pumice_model *model = (pumice_model *)&model;
    char long_name[5000];

    CHECK(pumice_model_open("/nowhere", NULL, &model, err) == PUMICE_ERR_IO);
    CHECK(model == NULL); /* handle outputs become NULL */
    CHECK(pumice_error_status(err) == PUMICE_ERR_IO);
    CHECK(strstr(pumice_error_message(err), "/nowhere") != NULL);
    CHECK(pumice_model_open("/nowhere", NULL, &model, NULL) == PUMICE_ERR_IO); /* no details */

    /* one line, cut to its room */
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    long_name[1] = '\n';
    CHECK(pumice_model_open(long_name, NULL, &model, err) == PUMICE_ERR_IO);
    CHECK(strchr(pumice_error_message(err), '\n') == NULL);
    CHECK(strlen(pumice_error_message(err)) > 500 && strlen(pumice_error_message(err)) < 1024);

    CHECK(pumice_model_open("\xff", NULL, &model, err) == PUMICE_ERR_UTF8);
    CHECK(pumice_model_open(path, NULL, &model, err) == PUMICE_OK); /* reset by each call */
    CHECK(pumice_error_status(err) == PUMICE_OK && pumice_error_message(err)[0] == 0);
    CHECK(pumice_error_status(NULL) == PUMICE_ERR_NULL && pumice_error_message(NULL)[0] == 0);

    /* an error that is none, where a handle is to be made */
    pumice_model_free(model);
    model = (pumice_model *)&model;
    CHECK(pumice_model_open(path, NULL, &model, (pumice_error *)long_name) == PUMICE_ERR_BAD_HANDLE);
    CHECK(model == NULL);

    CHECK(strcmp(pumice_status_name(PUMICE_ERR_IO), "PUMICE_ERR_IO") == 0);
    CHECK(strcmp(pumice_status_name(-9999), "PUMICE_ERR_UNKNOWN") == 0);
    CHECK(strcmp(pumice_status_name(7), "PUMICE_ERR_UNKNOWN") == 0);
}

static void options(void)
{
    pumice_options *opts = NULL;
    size_t len = 0;
    char *text;

    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, "session.n_ctz", 1, err) == PUMICE_ERR_UNKNOWN_KEY);
    CHECK(strstr(pumice_error_message(err), "session.n_ctz") != NULL);
    CHECK(pumice_options_set_float(opts, PUMICE_KEY_SESSION_N_CTX, 1.0, err) == PUMICE_ERR_WRONG_TYPE);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SAMPLER_TOP_P, 1, err) == PUMICE_ERR_WRONG_TYPE);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_SAMPLER_SEED, "1", 1, err) == PUMICE_ERR_WRONG_TYPE);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_GENERATE_STOP, 1, err) == PUMICE_ERR_WRONG_TYPE);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_N_CTX, -1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_N_CTX, INT64_MAX, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_MODEL_MMAP, 2, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SAMPLER_SEED, INT64_MIN, err) == PUMICE_OK);
    CHECK(pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, -0.1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, 1e300, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_SESSION_KERNELS, "mmx", 3, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_SESSION_KERNELS, "scalar", 6, err) == PUMICE_OK);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_GENERATE_STOP, "\xc3", 1, err) == PUMICE_ERR_UTF8);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_GENERATE_STOP, "", 0, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_GENERATE_STOP, "a\0b", 3, err) == PUMICE_OK);
    CHECK(pumice_options_unset(opts, PUMICE_KEY_GENERATE_STOP, err) == PUMICE_OK);
    CHECK(pumice_options_unset(opts, "generate.stopp", err) == PUMICE_ERR_UNKNOWN_KEY);
    pumice_options_free(opts);

    CHECK(pumice_has_feature("key:session.n_ctx") == 1 && pumice_has_feature("arch:llama") == 1);
    CHECK(pumice_has_feature("quant:q4_k") == 1 && pumice_has_feature("cpu:scalar") == 1);
    CHECK(pumice_has_feature("key:nothing") == 0 && pumice_has_feature("llama") == 0 && pumice_has_feature(NULL) == 0);
    CHECK(pumice_version_number() == PUMICE_VERSION_NUMBER);
    CHECK(strcmp(pumice_version_string(), PUMICE_VERSION_STRING) == 0);

    /* the pattern of buffers: ask, too small, room without and with a NUL */
    CHECK(pumice_describe(NULL, 0, &len, err) == PUMICE_OK && len > 1000);
    text = (char *)malloc(len + 2);
    CHECK(text != NULL);
    memset(text, '#', len + 2);
    CHECK(pumice_describe(text, len - 1, &len, err) == PUMICE_ERR_BUFFER_TOO_SMALL && text[0] == '#');
    CHECK(pumice_describe(text, len, &len, err) == PUMICE_OK && text[0] == '{' && text[len] == '#');
    CHECK(pumice_describe(text, len + 2, &len, err) == PUMICE_OK && text[len] == 0 && text[len + 1] == '#');
    CHECK(pumice_describe(NULL, 1, &len, err) == PUMICE_ERR_NULL);
    free(text);
}

static void PUMICE_CALL count_drop(void *user_data)
{
    ++*(int *)user_data;
}

/* Broken files: every one is refused with a message, whichever way it comes, and the buffer given back once. */
static void broken_files(void)
{
    FILE *file = fopen(path, "rb");
    const size_t head = 1 << 16;
    char *good = (char *)malloc(head), *bad = (char *)malloc(head), name[] = "/tmp/pumice-broken-XXXXXX";
    size_t cut;
    int descriptor = mkstemp(name), i;

    CHECK(file != NULL && good != NULL && bad != NULL && descriptor >= 0);
    CHECK(fread(good, 1, head, file) == head);
    fclose(file);
    for (i = 0; i < 40; i++) {
        pumice_model *model = (pumice_model *)&model;
        pumice_options *opts = NULL;
        int drops = 0;
        memcpy(bad, good, head);
        cut = i < 30 ? (size_t)i * 3 : head; /* cut short, or with its counts destroyed */
        if (i >= 30)
            memset(bad + (i - 30) * 2, 0xff, 8);
        CHECK(pumice_model_open_memory(bad, cut, count_drop, &drops, NULL, &model, err) == PUMICE_ERR_FORMAT);
        CHECK(model == NULL && drops == 1 && pumice_error_message(err)[0] != 0);
        CHECK(ftruncate(descriptor, 0) == 0 && pwrite(descriptor, bad, cut, 0) == (ssize_t)cut);
        CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
        CHECK(pumice_options_set_int(opts, PUMICE_KEY_MODEL_MMAP, i % 2, err) == PUMICE_OK);
        CHECK(pumice_model_open(name, opts, &model, err) == PUMICE_ERR_FORMAT);
        CHECK(model == NULL && strstr(pumice_error_message(err), name) != NULL);
        pumice_options_free(opts);
    }
    CHECK(close(descriptor) == 0 && unlink(name) == 0);
    {
        pumice_model *model = NULL;
        int drops = 0;
        CHECK(pumice_model_open_memory(NULL, 9, count_drop, &drops, NULL, &model, err) == PUMICE_ERR_NULL && drops == 1);
        CHECK(pumice_model_open_memory(good, SIZE_MAX, count_drop, &drops, NULL, &model, err) == PUMICE_ERR_INVALID);
        CHECK(pumice_model_open_memory(good, 9, count_drop, &drops, NULL, NULL, err) == PUMICE_ERR_NULL && drops == 3);
        CHECK(pumice_model_open_memory(
                  good, 9, count_drop, &drops, NULL, &model, (pumice_error *)good) == PUMICE_ERR_BAD_HANDLE);
        CHECK(drops == 4);
    }
    free(good);
    free(bad);
}

/* The same model from memory: the buffer is lent until the last user of the model is gone. */
static void memory(void)
{
    FILE *file = fopen(path, "rb");
    long size;
    char *data;
    int drops = 0;
    pumice_model *model = NULL, *again;
    pumice_session *session;
    pumice_token token = 0;

    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0);
    rewind(file);
    data = (char *)malloc((size_t)size + 1);
    CHECK(data != NULL && fread(data + 1, 1, (size_t)size, file) == (size_t)size); /* not aligned, on purpose */
    fclose(file);
    CHECK(pumice_model_open_memory(data + 1, (size_t)size, count_drop, &drops, NULL, &model, err) == PUMICE_OK);
    again = pumice_model_ref(model);
    CHECK(again == model);
    pumice_model_free(model);
    session = two_threads(again);
    pumice_model_free(again);
    CHECK(drops == 0);
    CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_OK);
    pumice_session_free(session);
    CHECK(drops == 1);
    free(data);
}

static void freed_and_foreign_handles(void)
{
    pumice_model *model = open_model();
    pumice_session *session = two_threads(model), *made = (pumice_session *)&made;
    pumice_sampler *sampler = greedy(model);
    pumice_token token = 0;
    int64_t zeros[32] = {0};
    int i;

    CHECK(pumice_session_decode((pumice_session *)model, &token, 1, err) == PUMICE_ERR_BAD_HANDLE);
    CHECK(pumice_session_new((const pumice_model *)session, NULL, &made, err) == PUMICE_ERR_BAD_HANDLE);
    CHECK(made == NULL);
    CHECK(pumice_session_decode((pumice_session *)zeros, &token, 1, err) == PUMICE_ERR_BAD_HANDLE);
    CHECK(pumice_session_decode((pumice_session *)((char *)session + 1), &token, 1, err) == PUMICE_ERR_BAD_HANDLE);
    CHECK(pumice_session_new(model, (const pumice_options *)sampler, &made, err) == PUMICE_ERR_BAD_HANDLE);
    CHECK(pumice_session_decode(session, (const pumice_token *)((char *)zeros + 1), 1, err) == PUMICE_ERR_INVALID);

    /* in any order; the session and the sampler keep the model */
    pumice_model_free(model);
    CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_OK);
    CHECK(pumice_sampler_sample(sampler, session, 0, &token, err) == PUMICE_OK);
    CHECK(pumice_session_new(model, NULL, &made, err) == PUMICE_ERR_BAD_HANDLE);
    CHECK(pumice_model_ref(model) == NULL);
    pumice_session_free(session);
    CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_ERR_BAD_HANDLE);
    pumice_session_cancel(session);
    pumice_sampler_free(sampler);
    for (i = 0; i < 3; i++) { /* a second time does nothing */
        pumice_session_free(session);
        pumice_sampler_free(sampler);
        pumice_model_free(model);
        pumice_model_free((pumice_model *)sampler);
        pumice_session_free((pumice_session *)zeros);
    }
    /* many more than are remembered */
    for (i = 0; i < 5000; i++) {
        pumice_batch *batch = NULL;
        CHECK(pumice_batch_new(&batch, err) == PUMICE_OK);
        pumice_batch_free(batch);
        pumice_batch_free(batch);
    }
}

static void decoding(void)
{
    pumice_model *model = open_model();
    pumice_session *session = two_threads(model);
    pumice_sampler *sampler = greedy(model);
    pumice_batch *batch = NULL;
    pumice_token tokens[600] = {0}, token = -7, some[3] = {5, 6, 7};
    const float *logits = NULL, nan_bias = (float)strtod("nan", NULL);
    float *copy, forbidden[3] = {0.0f, 0.0f, 0.0f};
    size_t count = 0, n_vocab;
    int64_t number = 0;

    CHECK(pumice_model_get_int(model, "n_vocab", &number, err) == PUMICE_OK && number > 0);
    n_vocab = (size_t)number;
    CHECK(pumice_model_get_int(model, "n_vocabulary", &number, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(pumice_session_output_count(session, &count, err) == PUMICE_OK && count == 0);
    CHECK(pumice_session_logits(session, 0, &logits, &count, err) == PUMICE_ERR_NOT_FOUND && logits == NULL);
    CHECK(pumice_sampler_sample(sampler, session, 0, &token, err) == PUMICE_ERR_NOT_FOUND && token == -7);

    CHECK(pumice_session_decode(session, some, 3, err) == PUMICE_OK && fed(session) == 3);
    CHECK(pumice_session_logits(session, 0, &logits, &count, err) == PUMICE_OK && count == n_vocab);
    copy = (float *)malloc(n_vocab * sizeof *copy);
    CHECK(copy != NULL);
    memcpy(copy, logits, n_vocab * sizeof *copy);

    /* what fails changes nothing */
    CHECK(pumice_session_decode(session, NULL, 1, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_decode(session, NULL, 0, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_decode(session, some, SIZE_MAX, err) == PUMICE_ERR_INVALID);
    tokens[1] = -1;
    CHECK(pumice_session_decode(session, tokens, 2, err) == PUMICE_ERR_INVALID);
    tokens[1] = (pumice_token)n_vocab;
    CHECK(pumice_session_decode(session, tokens, 2, err) == PUMICE_ERR_INVALID);
    tokens[1] = 0;
    CHECK(pumice_session_decode(session, tokens, 600, err) == PUMICE_ERR_CONTEXT_FULL);
    CHECK(fed(session) == 3);

    /* all positions at once, in two sequences: the last is what decoding gave */
    CHECK(pumice_batch_new(&batch, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, 7, some, 3, PUMICE_OUTPUTS_ALL, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, 8, some, 2, PUMICE_OUTPUTS_NONE, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, 8, some + 2, 1, PUMICE_OUTPUTS_LAST, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, 8, some, 1, 3, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_batch_add(batch, -1, some, 1, PUMICE_OUTPUTS_LAST, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_decode_batch(session, batch, err) == PUMICE_OK);
    CHECK(pumice_session_output_count(session, &count, err) == PUMICE_OK && count == 4);
    CHECK(pumice_session_logits(session, 2, &logits, &count, err) == PUMICE_OK);
    CHECK(memcmp(copy, logits, n_vocab * sizeof *copy) == 0);
    CHECK(pumice_session_logits(session, 3, &logits, &count, err) == PUMICE_OK);
    CHECK(memcmp(copy, logits, n_vocab * sizeof *copy) == 0);
    CHECK(pumice_batch_clear(batch, err) == PUMICE_OK);
    pumice_batch_free(batch);

    /* samplers */
    CHECK(pumice_sampler_sample(sampler, session, 3, &token, err) == PUMICE_OK);
    CHECK(token >= 0 && (size_t)token < n_vocab);
    some[0] = token;
    CHECK(pumice_sampler_sample_logits(sampler, copy, n_vocab, &token, err) == PUMICE_OK && token == some[0]);
    CHECK(pumice_sampler_sample_logits(sampler, copy, n_vocab - 1, &token, err) == PUMICE_ERR_MISMATCH);
    forbidden[0] = (float)strtod("-inf", NULL);
    CHECK(pumice_sampler_set_bias(sampler, some, forbidden, 1, err) == PUMICE_OK);
    CHECK(pumice_sampler_set_bias(sampler, some, &nan_bias, 1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_sampler_sample(sampler, session, 3, &token, err) == PUMICE_OK && token != some[0]);
    CHECK(pumice_sampler_set_bias(sampler, NULL, NULL, 0, err) == PUMICE_OK);
    CHECK(pumice_sampler_sample(sampler, session, 3, &token, err) == PUMICE_OK && token == some[0]);
    CHECK(pumice_sampler_accept(sampler, -1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_sampler_accept(sampler, (pumice_token)n_vocab, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_sampler_accept(sampler, token, err) == PUMICE_OK);
    CHECK(pumice_sampler_reset(sampler, err) == PUMICE_OK);

    CHECK(pumice_session_seq_truncate(session, 0, 1, err) == PUMICE_OK && fed(session) == 1);
    CHECK(pumice_session_seq_truncate(session, -1, 1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_get_int(session, "memory.kv", &number, err) == PUMICE_OK && number > 0);
    CHECK(pumice_session_reset(session, err) == PUMICE_OK && fed(session) == 0);
    CHECK(pumice_session_get_int(session, "memory.kv", &number, err) == PUMICE_OK && number == 0);
    CHECK(pumice_session_output_count(session, &count, err) == PUMICE_OK && count == 0);
    free(copy);
    pumice_sampler_free(sampler);
    pumice_session_free(session);
    pumice_model_free(model);
}

/* Text has to be UTF-8, all of it: no tokens come of anything else, and the outputs stay as they were. */
static void tokenizer_utf8(const pumice_model *model)
{
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {
        {"\x80", 1},             /* the rest of a character, without its start */
        {"a\xc3", 2},            /* a start without its rest */
        {"\xe2\x82", 2},         /* ... with a part of it */
        {"\xf0\x9f\xa6", 3},
        {"\xc3(", 2},
        {"\xc0\xaf", 2},         /* more bytes than it takes */
        {"\xe0\x80\xaf", 3},
        {"\xed\xa0\x80", 3},     /* half of a surrogate pair, and both */
        {"\xed\xa0\xbd\xed\xb8\x80", 6},
        {"\xf4\x90\x80\x80", 4}, /* beyond U+10FFFF */
        {"\xff\xfe" "a\0", 4},    /* UTF-16 */
        {"good, then \xfe", 12}
    };
    const char good[] = "\xef\xbb\xbf\0\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf";
    pumice_token tokens[64];
    char back[64];
    size_t i, count, len = 0, n = sizeof good - 1;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int32_t flags;
        for (flags = 0; flags <= PUMICE_TOKENIZE_PARSE_SPECIAL; flags += PUMICE_TOKENIZE_PARSE_SPECIAL) {
            tokens[0] = -5;
            count = 77;
            CHECK(pumice_model_tokenize(model, bad[i].text, bad[i].len, flags, tokens, 64, &count, err)
                  == PUMICE_ERR_UTF8);
            CHECK(tokens[0] == -5 && count == 77 && strstr(pumice_error_message(err), "text") != NULL);
        }
    }
    CHECK(pumice_model_tokenize(model, good, n, 0, tokens, 64, &count, err) == PUMICE_OK);
    CHECK(pumice_model_detokenize(model, tokens, count, 0, back, sizeof back, &len, err) == PUMICE_OK);
    CHECK(len == n && memcmp(back, good, n) == 0);
}

static void tokenizer(void)
{
    pumice_model *model = open_model();
    const char text[] = "It was a \xc3\xa9\0 morning";
    pumice_token tokens[64], special = -2;
    char back[64];
    const char *name = NULL;
    size_t count = 77, len = 0, n = sizeof text - 1;
    int32_t flags = 0;

    CHECK(pumice_model_tokenize(model, text, n, 0, NULL, 0, &count, err) == PUMICE_OK && count > 3 && count < 64);
    tokens[0] = -5;
    CHECK(pumice_model_tokenize(model, text, n, 0, tokens, 1, &len, err) == PUMICE_ERR_BUFFER_TOO_SMALL);
    CHECK(len == count && tokens[0] == -5);
    CHECK(pumice_model_tokenize(model, text, n, 0, tokens, 64, &count, err) == PUMICE_OK && count == len);
    CHECK(pumice_model_detokenize(model, tokens, count, 0, back, sizeof back, &len, err) == PUMICE_OK);
    CHECK(len == n && memcmp(back, text, n + 1) == 0);
    CHECK(pumice_model_tokenize(model, text, n, 4, tokens, 64, &count, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_model_tokenize(model, text, n, INT32_MIN, tokens, 64, &count, err) == PUMICE_ERR_INVALID);
    tokenizer_utf8(model);
    tokens[0] = 1 << 30;
    CHECK(pumice_model_detokenize(model, tokens, 1, 0, back, sizeof back, &len, err) == PUMICE_ERR_INVALID);

    CHECK(pumice_model_special_token(model, "eos", &special, err) == PUMICE_OK && special >= 0);
    CHECK(pumice_model_token_flags(model, special, &flags, err) == PUMICE_OK);
    CHECK(flags == (PUMICE_TOKEN_CONTROL | PUMICE_TOKEN_END));
    CHECK(pumice_model_token_text(model, special, &name, &len, err) == PUMICE_OK && len == 13);
    CHECK(memcmp(name, "<|endoftext|>", 13) == 0);
    CHECK(pumice_model_special_token(model, "fim_pre", &special, err) == PUMICE_OK && special == -1);
    CHECK(pumice_model_special_token(model, "end", &special, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(pumice_model_token_flags(model, -1, &flags, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_model_token_text(model, INT32_MAX, &name, &len, err) == PUMICE_ERR_INVALID);
    pumice_model_free(model);
}

static void metadata(void)
{
    pumice_model *model = open_model();
    size_t count = 0, i, len = 0, elements = 0;
    const char *key = NULL, *text = NULL;
    int32_t type = -1;
    int64_t number = 0;
    double real = 0;

    CHECK(pumice_model_meta_count(model, &count, err) == PUMICE_OK && count > 10);
    for (i = 0; i < count; i++) {
        CHECK(pumice_model_meta_key(model, i, &key, &len, err) == PUMICE_OK && strlen(key) == len);
        CHECK(pumice_model_meta_type(model, key, &type, &elements, err) == PUMICE_OK);
        CHECK((type & PUMICE_META_ARRAY) != 0 || elements == 1);
    }
    CHECK(pumice_model_meta_key(model, count, &key, &len, err) == PUMICE_ERR_NOT_FOUND);
    key = "tokenizer.ggml.tokens";
    CHECK(pumice_model_meta_type(model, key, &type, &elements, err) == PUMICE_OK);
    CHECK(type == PUMICE_META_ARRAY + PUMICE_META_STRING && elements > 1000);
    CHECK(pumice_model_meta_string(model, key, 0, &text, &len, err) == PUMICE_OK && len == 13);
    CHECK(pumice_model_meta_string(model, key, elements, &text, &len, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(pumice_model_meta_int(model, key, 0, &number, err) == PUMICE_ERR_WRONG_TYPE);
    CHECK(pumice_model_meta_int(model, "llama.block_count", 0, &number, err) == PUMICE_OK && number == 5);
    CHECK(pumice_model_meta_int(model, "llama.block_count", 1, &number, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(pumice_model_meta_float(model, "llama.block_count", 0, &real, err) == PUMICE_ERR_WRONG_TYPE);
    key = "llama.attention.layer_norm_rms_epsilon";
    CHECK(pumice_model_meta_float(model, key, 0, &real, err) == PUMICE_OK && real > 0);
    CHECK(pumice_model_meta_string(model, key, 0, &text, &len, err) == PUMICE_ERR_WRONG_TYPE);
    CHECK(pumice_model_meta_type(model, "llama", &type, &elements, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(pumice_model_get_string(model, "arch", &text, &len, err) == PUMICE_OK && memcmp(text, "llama", len) == 0);
    CHECK(pumice_model_get_string(model, "quant", &text, &len, err) == PUMICE_OK && memcmp(text, "Q8_0", len) == 0);
    CHECK(pumice_model_get_string(model, "colour", &text, &len, err) == PUMICE_ERR_NOT_FOUND);
    pumice_model_free(model);
}

/* What a callback of a generation is to do, and what it has seen. */
struct seen {
    pumice_session *session;
    pumice_sampler *sampler;
    pumice_options *opts;
    size_t calls, progress, tokens, bytes;
    int free_all, cancel;
    int32_t answer;
};

static int32_t PUMICE_CALL see_text(
    void *user_data, const char *text, size_t len, const pumice_token *tokens, size_t count)
{
    struct seen *seen = (struct seen *)user_data;
    pumice_token token = 0;
    size_t n = 0;
    (void)text;
    (void)tokens;
    seen->calls++;
    seen->bytes += len;
    seen->tokens += count;
    if (seen->free_all && seen->calls > 1)
        return seen->answer;
    CHECK(pumice_session_decode(seen->session, &token, 1, err) == PUMICE_ERR_BUSY);
    CHECK(pumice_session_output_count(seen->session, &n, err) == PUMICE_ERR_BUSY);
    CHECK(pumice_sampler_accept(seen->sampler, 0, err) == PUMICE_ERR_BUSY);
    if (seen->free_all) { /* takes effect when the call returns */
        pumice_session_free(seen->session);
        pumice_sampler_free(seen->sampler);
        pumice_options_free(seen->opts);
        CHECK(pumice_session_decode(seen->session, &token, 1, err) == PUMICE_ERR_BAD_HANDLE);
    }
    if (seen->cancel)
        pumice_session_cancel(seen->session);
    return seen->answer;
}

static int32_t PUMICE_CALL see_progress(void *user_data, uint64_t done, uint64_t total)
{
    struct seen *seen = (struct seen *)user_data;
    CHECK(done <= total && total == 4);
    seen->progress++;
    return seen->answer;
}

static void callbacks(void)
{
    pumice_model *model = open_model();
    static const pumice_token prompt[4] = {40, 50, 60, 70};
    static const struct {
        int free_all, cancel, only_progress;
        int32_t answer;
        pumice_status status;
    } cases[] = {
        {0, 0, 0, PUMICE_CONTINUE, PUMICE_OK},
        {0, 0, 0, 0, PUMICE_ERR_CANCELLED},
        {0, 0, 0, 2, PUMICE_ERR_CANCELLED},
        {0, 0, 0, -1, PUMICE_ERR_CANCELLED},
        {0, 0, 1, 0, PUMICE_ERR_CANCELLED},
        {0, 1, 0, PUMICE_CONTINUE, PUMICE_ERR_CANCELLED},
        {1, 0, 0, PUMICE_CONTINUE, PUMICE_OK},
        {1, 0, 0, 0, PUMICE_ERR_CANCELLED}
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen seen = {0};
        int32_t finish = 55;
        pumice_status status;
        seen.session = two_threads(model);
        seen.sampler = greedy(model);
        seen.free_all = cases[i].free_all;
        seen.cancel = cases[i].cancel;
        seen.answer = cases[i].answer;
        CHECK(pumice_options_new(&seen.opts, err) == PUMICE_OK);
        CHECK(pumice_options_set_int(seen.opts, PUMICE_KEY_GENERATE_MAX_TOKENS, 12, err) == PUMICE_OK);
        if (cases[i].only_progress || cases[i].answer == PUMICE_CONTINUE)
            CHECK(pumice_options_set_progress(seen.opts, see_progress, &seen, err) == PUMICE_OK);
        status = pumice_session_generate(seen.session, seen.sampler, prompt, 4, seen.opts, see_text, &seen, &finish, err);
        CHECK(status == cases[i].status);
        CHECK(pumice_error_status(err) == status);
        if (status != PUMICE_OK) {
            CHECK(finish == 55 && seen.calls == (cases[i].only_progress ? 0 : 1));
        } else if (!seen.free_all) {
            CHECK(finish == PUMICE_FINISH_LENGTH && seen.tokens == 12 && seen.bytes > 12 && seen.progress >= 1);
            CHECK(fed(seen.session) == 4 + 11);
        }
        if (cases[i].only_progress)
            CHECK(fed(seen.session) == 0);
        pumice_session_free(seen.session);
        pumice_sampler_free(seen.sampler);
        pumice_options_free(seen.opts);
    }

    /* without callbacks, options and places for results */
    {
        pumice_session *session = two_threads(model);
        pumice_sampler *sampler = greedy(model);
        CHECK(pumice_session_generate(session, sampler, prompt, 4, NULL, NULL, NULL, NULL, err) == PUMICE_OK);
        CHECK(pumice_session_generate(session, sampler, prompt, 0, NULL, NULL, NULL, NULL, err) == PUMICE_ERR_INVALID);
        pumice_session_free(session);
        pumice_sampler_free(sampler);
    }
    pumice_model_free(model);
}

/* A stop text: not shown, and every token is told of, also those whose text was held back. */
static void stop_texts(void)
{
    pumice_model *model = open_model();
    struct seen seen = {0};
    static const pumice_token prompt[1] = {0};
    int32_t finish = -1;
    seen.session = two_threads(model);
    seen.sampler = greedy(model);
    seen.answer = PUMICE_CONTINUE;
    CHECK(pumice_options_new(&seen.opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_string(seen.opts, PUMICE_KEY_GENERATE_STOP, "e", 1, err) == PUMICE_OK);
    CHECK(pumice_session_generate(
              seen.session, seen.sampler, prompt, 1, seen.opts, see_text, &seen, &finish, err) == PUMICE_OK);
    CHECK(finish == PUMICE_FINISH_STOP);
    CHECK(seen.tokens == fed(seen.session)); /* the prompt's one more, the last one less */
    pumice_session_free(seen.session);
    pumice_sampler_free(seen.sampler);
    pumice_options_free(seen.opts);
    pumice_model_free(model);
}

/* One thread decodes; others find the session busy, then cancel it. */
static void *decode_much(void *argument)
{
    static pumice_token tokens[512];
    pumice_session *session = (pumice_session *)argument;
    pumice_status status;
    do {
        status = pumice_session_seq_truncate(session, 0, 0, NULL);
        if (status == PUMICE_OK)
            status = pumice_session_decode(session, tokens, 512, NULL);
    } while (status == PUMICE_OK || status == PUMICE_ERR_BUSY);
    return (void *)(intptr_t)status;
}

static pumice_session *to_cancel;

static void on_signal(int number)
{
    (void)number;
    pumice_session_cancel(to_cancel);
}

static void threads(void)
{
    pumice_model *model = open_model();
    pumice_session *session = two_threads(model);
    pthread_t thread;
    void *result = NULL;
    size_t n = 0, busy = 0;
    int round;

    for (round = 0; round < 2; round++) {
        CHECK(pthread_create(&thread, NULL, decode_much, session) == 0);
        while (busy < (size_t)round + 1) {
            busy += pumice_session_output_count(session, &n, NULL) == PUMICE_ERR_BUSY;
            usleep(100); /* or, where threads run one at a time, the other finds it busy for ever */
        }
        to_cancel = session;
        signal(SIGUSR1, on_signal);
        /* between two of its calls there is nothing to cancel: try until one is hit */
        while (pthread_tryjoin_np(thread, &result) != 0) {
            if (round == 0)
                pumice_session_cancel(session);
            else
                raise(SIGUSR1);
            usleep(1000);
        }
        CHECK((pumice_status)(intptr_t)result == PUMICE_ERR_CANCELLED);
        CHECK(fed(session) == 0); /* as it was before the call */
    }
    pumice_session_free(session);
    pumice_model_free(model);
}

static void *own_session(void *argument)
{
    pumice_session *session = two_threads((pumice_model *)argument);
    static const pumice_token tokens[3] = {5, 6, 7};
    const float *logits = NULL;
    size_t count = 0;
    float first = 0;
    CHECK(pumice_session_decode(session, tokens, 3, NULL) == PUMICE_OK);
    CHECK(pumice_session_logits(session, 0, &logits, &count, NULL) == PUMICE_OK);
    first = logits[0];
    pumice_session_free(session);
    return (void *)(intptr_t)(first * 1e6f);
}

static void shared_model(void)
{
    pumice_model *model = open_model();
    pthread_t all[4];
    void *results[4];
    int i;
    pumice_error *own = err;
    err = NULL; /* an error is for one thread */
    for (i = 0; i < 4; i++)
        CHECK(pthread_create(&all[i], NULL, own_session, model) == 0);
    for (i = 0; i < 4; i++)
        CHECK(pthread_join(all[i], &results[i]) == 0 && results[i] == results[0]);
    err = own;
    pumice_model_free(model);
}

static void after_a_fork(void)
{
    pumice_model *model = open_model();
    pumice_session *session = two_threads(model);
    pumice_token token = 0;
    int status = -1;
    pid_t child;

    CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_OK);
    child = fork();
    if (child == 0) {
        pumice_session *own;
        alarm(20); /* should anything wait for a thread that is not there */
        CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_ERR_POISONED);
        CHECK(pumice_session_reset(session, err) == PUMICE_ERR_POISONED);
        pumice_session_cancel(session);
        pumice_session_free(session);
        own = two_threads(model); /* the model is as good as ever */
        CHECK(pumice_session_decode(own, &token, 1, err) == PUMICE_OK);
        pumice_session_free(own);
        pumice_model_free(model);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(pumice_session_decode(session, &token, 1, err) == PUMICE_OK);
    pumice_session_free(session);
    pumice_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    errors();
    options();
    broken_files();
    memory();
    freed_and_foreign_handles();
    decoding();
    tokenizer();
    metadata();
    callbacks();
    stop_texts();
    threads();
    shared_model();
    after_a_fork();
#ifndef NO_LEAKS
    two_threads(open_model()); /* never freed, which is harmless */
#endif
    pumice_error_free(err);
    return 0;
}
