/*
 * Sequences that share a prefix, and saved state, from C: sequences MODEL FOLDER. Writes nothing unless a check fails.
 */

#include "check.h"

static pumice_model *model;
static pumice_token text[300];
static size_t n_vocab;

static size_t length(pumice_session *session, pumice_seq seq)
{
    size_t count = 99;
    CHECK(pumice_session_seq_tokens(session, seq, NULL, 0, &count, err) == PUMICE_OK);
    return count;
}

static size_t outputs(pumice_session *session)
{
    size_t count = 99;
    CHECK(pumice_session_output_count(session, &count, err) == PUMICE_OK);
    return count;
}

/* Feeds one token; gives a copy of its logits. */
static float *feed(pumice_session *session, pumice_seq seq, pumice_token token)
{
    pumice_batch *batch = NULL;
    const float *logits = NULL;
    size_t count = 0;
    float *copy = (float *)malloc(n_vocab * sizeof *copy);
    CHECK(copy != NULL && pumice_batch_new(&batch, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, seq, &token, 1, PUMICE_OUTPUTS_LAST, err) == PUMICE_OK);
    CHECK(pumice_session_decode_batch(session, batch, err) == PUMICE_OK);
    CHECK(pumice_session_logits(session, 0, &logits, &count, err) == PUMICE_OK && count == n_vocab);
    memcpy(copy, logits, n_vocab * sizeof *copy);
    pumice_batch_free(batch);
    return copy;
}

static void check_same(float *a, float *b)
{
    CHECK(memcmp(a, b, n_vocab * sizeof *a) == 0);
    free(a);
    free(b);
}

static void forks(void)
{
    pumice_session *session = new_session(model, NULL, 0), *plain = new_session(model, NULL, 0);
    int64_t before;

    CHECK(pumice_session_decode(session, text, 200, err) == PUMICE_OK);
    before = number(session, "memory.kv");
    CHECK(pumice_session_seq_fork(session, 0, 1, 150, err) == PUMICE_OK);
    CHECK(pumice_session_seq_fork(session, 1, 2, 128, err) == PUMICE_OK);
    CHECK(fed(session) == 200 && length(session, 1) == 150 && length(session, 2) == 128);
    CHECK(number(session, "memory.kv") == before && outputs(session) == 1);

    CHECK(pumice_session_seq_fork(session, 0, 1, 201, err) == PUMICE_ERR_INVALID);
    CHECK(strstr(pumice_error_message(err), "200") != NULL);
    CHECK(pumice_session_seq_fork(session, 7, 1, 1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_seq_fork(session, -1, 1, 1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_seq_fork(session, 0, -1, 1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_seq_fork(NULL, 0, 1, 1, err) == PUMICE_ERR_NULL);
    CHECK(length(session, 1) == 150);

    CHECK(pumice_session_decode(plain, text, 150, err) == PUMICE_OK);
    check_same(feed(session, 1, 42), feed(plain, 0, 42));
    CHECK(number(session, "memory.kv") == before + before / 2); /* a page of its own */
    CHECK(pumice_session_seq_fork(session, 0, 0, 10, err) == PUMICE_OK && fed(session) == 10);
    CHECK(pumice_session_seq_fork(session, 9, 1, 0, err) == PUMICE_OK && length(session, 1) == 0);
    pumice_session_free(session);
    pumice_session_free(plain);
}

static void states(const char *folder)
{
    pumice_session *session = new_session(model, NULL, 0), *other = new_session(model, NULL, 0), *small = new_session(model, PUMICE_KEY_SESSION_N_CTX, 149);
    size_t len = 0, all = 0, i;
    unsigned char *state;
    char file[1000];
    float *expected;

    snprintf(file, sizeof file, "%s/state", folder);
    CHECK(pumice_session_decode(session, text, 150, err) == PUMICE_OK);
    CHECK(pumice_session_seq_fork(session, 0, 3, 140, err) == PUMICE_OK);

    /* the pattern of buffers */
    CHECK(pumice_session_state_save(session, 0, NULL, 0, &len, err) == PUMICE_OK && len > 1000);
    CHECK(pumice_session_state_save(session, PUMICE_SEQ_ALL, NULL, 0, &all, err) == PUMICE_OK && all > len);
    state = (unsigned char *)malloc(all + 1);
    CHECK(state != NULL);
    memset(state, '#', all + 1);
    i = 0;
    CHECK(pumice_session_state_save(session, 0, state, len - 1, &i, err) == PUMICE_ERR_BUFFER_TOO_SMALL);
    CHECK(i == len && state[0] == '#');
    CHECK(pumice_session_state_save(session, 0, NULL, len, &i, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_state_save(session, 0, state, len, NULL, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_state_save(session, -2, state, len, &i, err) == PUMICE_ERR_INVALID && state[0] == '#');
    CHECK(pumice_session_state_save(session, 0, state, len, &i, err) == PUMICE_OK && state[len] == '#');

    /* one sequence, into another one of another session */
    CHECK(pumice_session_decode(other, text, 5, err) == PUMICE_OK);
    CHECK(pumice_session_state_load(other, 8, state, len, err) == PUMICE_OK);
    CHECK(length(other, 8) == 150 && fed(other) == 5 && outputs(other) == 0);
    expected = feed(session, 0, 42);
    check_same(feed(other, 8, 42), expected);
    CHECK(pumice_session_seq_truncate(session, 0, 150, err) == PUMICE_OK);

    /* all sequences, which share again; what is refused changes nothing */
    CHECK(pumice_session_seq_fork(session, 0, 3, 140, err) == PUMICE_OK);
    CHECK(pumice_session_state_save(session, PUMICE_SEQ_ALL, state, all, &i, err) == PUMICE_OK);
    CHECK(pumice_session_decode(small, text, 2, err) == PUMICE_OK);
    CHECK(pumice_session_state_load(small, PUMICE_SEQ_ALL, state, i, err) == PUMICE_ERR_CONTEXT_FULL);
    CHECK(fed(small) == 2 && outputs(small) == 1);
    CHECK(pumice_session_state_load(other, 8, state, i, err) == PUMICE_ERR_MISMATCH);
    CHECK(pumice_session_state_load(other, -2, state, i, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_state_load(other, 8, NULL, i, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_state_load(other, 8, NULL, 0, err) == PUMICE_ERR_FORMAT);
    CHECK(pumice_session_state_load(other, PUMICE_SEQ_ALL, state, i - 1, err) == PUMICE_ERR_FORMAT);
    CHECK(pumice_session_state_load(other, PUMICE_SEQ_ALL, state, SIZE_MAX, err) == PUMICE_ERR_INVALID);
    state[i / 2] ^= 1;
    CHECK(pumice_session_state_load(other, PUMICE_SEQ_ALL, state, i, err) == PUMICE_ERR_FORMAT);
    state[i / 2] ^= 1;
    state[8]++; /* the version */
    CHECK(pumice_session_state_load(other, PUMICE_SEQ_ALL, state, i, err) == PUMICE_ERR_MISMATCH);
    state[8]--;
    CHECK(length(other, 8) == 151 && fed(other) == 5 && length(other, 3) == 0);
    CHECK(pumice_session_state_load(other, PUMICE_SEQ_ALL, state, i, err) == PUMICE_OK);
    CHECK(length(other, 8) == 0 && fed(other) == 150 && length(other, 3) == 140 && number(other, "memory.kv") == number(session, "memory.kv"));

    /* outputs: the last token again */
    CHECK(pumice_session_seq_truncate(other, 0, 149, err) == PUMICE_OK);
    CHECK(pumice_session_seq_truncate(session, 0, 149, err) == PUMICE_OK);
    check_same(feed(other, 0, text[149]), feed(session, 0, text[149]));

    /* files */
    CHECK(pumice_session_state_save_file(session, PUMICE_SEQ_ALL, file, err) == PUMICE_OK);
    CHECK(pumice_session_state_load_file(other, PUMICE_SEQ_ALL, file, err) == PUMICE_OK);
    CHECK(fed(other) == 150 && length(other, 3) == 140);
    CHECK(pumice_session_state_load_file(other, 3, file, err) == PUMICE_ERR_MISMATCH);
    CHECK(strstr(pumice_error_message(err), file) != NULL);
    CHECK(pumice_session_state_save_file(session, 3, file, err) == PUMICE_OK);
    CHECK(pumice_session_state_load_file(other, 6, file, err) == PUMICE_OK && length(other, 6) == 140);
    CHECK(pumice_session_state_save_file(session, 0, folder, err) == PUMICE_ERR_IO);
    CHECK(pumice_session_state_load_file(other, 0, folder, err) == PUMICE_ERR_IO);
    CHECK(pumice_session_state_load_file(other, 0, "/nowhere", err) == PUMICE_ERR_IO);
    CHECK(pumice_session_state_save_file(session, 0, NULL, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_state_load_file(other, 0, "\xff", err) == PUMICE_ERR_UTF8);
    CHECK(fed(other) == 150);

    free(state);
    pumice_session_free(session);
    pumice_session_free(other);
    pumice_session_free(small);
}

int main(int argc, char **argv)
{
    int64_t count = 0;
    size_t i;

    if (argc != 3)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    model = open_model();
    CHECK(pumice_model_get_int(model, "n_vocab", &count, err) == PUMICE_OK);
    n_vocab = (size_t)count;
    for (i = 0; i < 300; i++)
        text[i] = (pumice_token)((i * i * 7 + i) % n_vocab);
    forks();
    states(argv[2]);
    pumice_model_free(model);
    pumice_error_free(err);
    return 0;
}
