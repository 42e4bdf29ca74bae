/*
 * Calls every function of pumice.h with one bad argument at a time, each in a process of its own: misuse MODEL SCRATCH.
 * The cases are made from the header by misuse.rs, which includes this file's values in them. Tells on descriptor 3
 * what went wrong, so that descriptors 1 and 2 can be watched: nothing may be written there.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pumice.h"

/* What a function without status gives for arguments that it refuses: 0 or NULL. */
#define REFUSED 1

/* One call. */
struct misuse {
    const char *name;
    pumice_status (*call)(int number);
    int number;
    pumice_status expected;
    int tells;           /* the good error is among its arguments */
    unsigned places;     /* how many of `place` are */
    unsigned made;       /* bits of those that are for handles, and must be NULL after a failure */
};

/* Good arguments. */
static struct {
    pumice_model *model;
    pumice_session *session;
    pumice_sampler *sampler;
    pumice_batch *batch;
    pumice_options *options;
    pumice_error *error;
} good, freed;

static const char *path, *scratch;
static char state_path[512], saved_path[512], head_path[512];
static unsigned char state[1 << 16];
static size_t state_size;
static unsigned char *file;
static size_t file_size;
static float *logits;
static size_t n_vocab;
static const pumice_token tokens[3] = {5, 6, 7};
static const char *const roles[3] = {"user", "assistant", "user"};
static const char *const contents[3] = {"One", "Two", "Three"};
static const float biases[3] = {0.5f, 0.0f, -0.5f};
static const pumice_token *const continuations[3] = {tokens, tokens, tokens};
static const size_t counts[3] = {3, 2, 1};

/* Bad ones. */
static char unclean[256]; /* not UTF-8 */
static const char *const with_null[3] = {"user", NULL, "user"};
static const char *const with_unclean[3] = {"user", unclean, "user"};
static int64_t zeros[64];
static const pumice_token strangers[2][3] = {{5, -1, 7}, {5, INT32_MAX, 7}};
static const pumice_token *const with_no_tokens[3] = {tokens, NULL, tokens};
static const pumice_token *const with_strangers[3] = {tokens, strangers[1], tokens};
static const pumice_token *with_misaligned[3] = {tokens, NULL, tokens};
static const size_t with_size_max[3] = {3, SIZE_MAX, 1};
static float odd_biases[3][3]; /* NaN and the infinities */
static float *no_logits;

/* Places for results: what is there must still be there after a failure. */
#define ROOM ((size_t)1 << 20)
static int64_t place[4][ROOM / sizeof(int64_t)];

static int untouched(const void *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    return size == 0 || (bytes[0] == 0xa5 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static int32_t PUMICE_CALL on_text(void *data, const char *text, size_t len, const pumice_token *told, size_t count)
{
    (void)data, (void)text, (void)len, (void)told, (void)count;
    return PUMICE_CONTINUE;
}

static int32_t PUMICE_CALL on_progress(void *data, uint64_t done, uint64_t total)
{
    (void)data, (void)done, (void)total;
    return PUMICE_CONTINUE;
}

static void PUMICE_CALL on_drop(void *data)
{
    (void)data;
}

static int32_t PUMICE_CALL on_read(void *data, uint64_t offset, void *dst, size_t len)
{
    (void)data;
    if (offset > file_size || len > file_size - offset)
        return 0;
    memcpy(dst, file + offset, len);
    return PUMICE_CONTINUE;
}

static void PUMICE_CALL on_log(void *data, int32_t level, const char *message, size_t len)
{
    (void)data, (void)level, (void)message, (void)len;
}

#include "cases.h" /* the table `misuses` */

static void complain(const char *name, const char *what)
{
    dprintf(3, "%s: %s\n", name, what);
}

static void need(int condition, const char *what)
{
    if (!condition) {
        complain("preparing", what);
        exit(2);
    }
}

static void make_options(pumice_options **out)
{
    need(pumice_options_new(out, good.error) == PUMICE_OK, "options");
    need(pumice_options_set_int(*out, PUMICE_KEY_SESSION_THREADS, 1, good.error) == PUMICE_OK, "threads");
    need(pumice_options_set_int(*out, PUMICE_KEY_SESSION_EMBEDDINGS, 1, good.error) == PUMICE_OK, "embeddings");
    need(pumice_options_set_int(*out, PUMICE_KEY_GENERATE_MAX_TOKENS, 2, good.error) == PUMICE_OK, "max_tokens");
    need(pumice_options_set_string(*out, PUMICE_KEY_MODEL_HEAD, head_path, strlen(head_path), good.error) == PUMICE_OK,
        "head");
}

/* A session that has been fed, which a fork would spoil: each process makes its own. */
static void make_session(pumice_session **out)
{
    need(pumice_session_new(good.model, good.options, out, good.error) == PUMICE_OK, "session");
    need(pumice_session_decode(*out, tokens, 3, good.error) == PUMICE_OK, "decode");
    need(pumice_session_state_save(*out, 0, state, sizeof state, &state_size, good.error) == PUMICE_OK, "state");
    if (access(state_path, F_OK) != 0)
        need(pumice_session_state_save_file(*out, 0, state_path, good.error) == PUMICE_OK, state_path);
}

static void prepare(void)
{
    FILE *stream = fopen(path, "rb");
    struct stat about;
    int64_t number = 0;
    size_t i;

    need(stream != NULL && fstat(fileno(stream), &about) == 0, path);
    file_size = (size_t)about.st_size;
    file = (unsigned char *)malloc(file_size);
    need(file != NULL && fread(file, 1, file_size, stream) == file_size, "reading the model");
    fclose(stream);
    snprintf(state_path, sizeof state_path, "%s/state", scratch);
    snprintf(saved_path, sizeof saved_path, "%s/saved", scratch);
    snprintf(head_path, sizeof head_path, "%s/head.gguf", scratch);
    memset(unclean, 0xff, sizeof unclean - 1);
    with_misaligned[1] = (const pumice_token *)((const char *)tokens + 1);
    odd_biases[0][1] = (float)NAN;
    odd_biases[1][1] = (float)INFINITY;
    odd_biases[2][1] = (float)-INFINITY;

    good.error = pumice_error_new();
    make_options(&good.options);
    need(pumice_model_open(path, good.options, &good.model, good.error) == PUMICE_OK, "model");
    need(pumice_sampler_new(good.model, NULL, &good.sampler, good.error) == PUMICE_OK, "sampler");
    need(pumice_batch_new(&good.batch, good.error) == PUMICE_OK, "batch");
    need(pumice_batch_add(good.batch, 1, tokens, 3, PUMICE_OUTPUTS_LAST, good.error) == PUMICE_OK, "run");
    need(pumice_model_get_int(good.model, "n_vocab", &number, good.error) == PUMICE_OK, "n_vocab");
    n_vocab = (size_t)number;
    logits = (float *)calloc(n_vocab, sizeof *logits);
    no_logits = (float *)malloc(n_vocab * sizeof *no_logits);
    need(logits != NULL && no_logits != NULL, "logits");
    for (i = 0; i < n_vocab; i++)
        no_logits[i] = (float)NAN;

    make_session(&freed.session);
    make_options(&freed.options);
    need(pumice_model_open(path, NULL, &freed.model, good.error) == PUMICE_OK, "another model");
    need(pumice_sampler_new(good.model, NULL, &freed.sampler, good.error) == PUMICE_OK, "another sampler");
    need(pumice_batch_new(&freed.batch, good.error) == PUMICE_OK, "another batch");
    freed.error = pumice_error_new();
    pumice_session_free(freed.session);
    pumice_options_free(freed.options);
    pumice_model_free(freed.model);
    pumice_sampler_free(freed.sampler);
    pumice_batch_free(freed.batch);
    pumice_error_free(freed.error);
}

/* Whether all is well; runs in a process of its own. */
static int survives(const struct misuse *misuse)
{
    pumice_status status;
    unsigned i;
    char text[256];

    alarm(60); /* should it hang */
    make_session(&good.session);
    for (i = 0; i < misuse->places; i++)
        memset(place[i], 0xa5, ROOM);
    status = misuse->call(misuse->number);
    if (status != misuse->expected) {
        snprintf(text, sizeof text, "returned %d (%s: %s), expected %d (%s)", (int)status, pumice_status_name(status),
            misuse->tells ? pumice_error_message(good.error) : "", (int)misuse->expected,
            pumice_status_name(misuse->expected));
        complain(misuse->name, text);
        return 0;
    }
    if (misuse->tells && pumice_error_status(good.error) != status) {
        complain(misuse->name, "the error has another status");
        return 0;
    }
    if (misuse->tells && (pumice_error_message(good.error)[0] == 0) != (status == PUMICE_OK)) {
        complain(misuse->name, "a failure without a message, or a success with one");
        return 0;
    }
    for (i = 0; i < misuse->places && status != PUMICE_OK; i++) {
        size_t skip = 0;
        void *made;
        memcpy(&made, place[i], sizeof made);
        if (misuse->made >> i & 1) {
            skip = sizeof made;
            if (made != NULL) {
                complain(misuse->name, "a handle output is not NULL");
                return 0;
            }
        } else if (status == PUMICE_ERR_BUFFER_TOO_SMALL && i + 1 == misuse->places) {
            skip = sizeof(size_t); /* the size that the buffer would need */
        }
        if (!untouched((char *)place[i] + skip, ROOM - skip)) {
            complain(misuse->name, "an output was touched");
            return 0;
        }
    }
    /* the good arguments have not suffered from what was refused */
    if ((status != PUMICE_OK || !misuse->tells) && (status = misuse->call(0)) != PUMICE_OK) {
        snprintf(text, sizeof text, "afterwards the good call returned %d (%s)", (int)status,
            pumice_error_message(good.error));
        complain(misuse->name, text);
        return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    size_t i, failures = 0;

    if (argc != 3)
        return 2;
    path = argv[1];
    scratch = argv[2];
    prepare();
    for (i = 0; i < sizeof misuses / sizeof misuses[0]; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            _exit(survives(&misuses[i]) ? 0 : 1);
        need(child > 0 && waitpid(child, &status, 0) == child, "a process");
        if (!WIFEXITED(status)) {
            char text[64];
            snprintf(text, sizeof text, "ended by signal %d", WTERMSIG(status));
            complain(misuses[i].name, text);
        } else if (WEXITSTATUS(status) > 1) {
            complain(misuses[i].name, "ended by itself");
        }
        failures += status != 0;
    }
    return failures != 0;
}
