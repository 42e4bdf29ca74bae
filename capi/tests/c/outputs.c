/* What a session gives back: hidden states, the most likely tokens, counters; what it takes: memory. */

#include <math.h>

#include "check.h"

static const pumice_token some[5] = {5, 6, 7, 8, 9};

static void top_logprobs(void)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, NULL, 0);
    pumice_token tokens[8], *all;
    float logprobs[8], *all_logprobs;
    const float *logits = NULL;
    size_t count = 77, n_vocab = 0, i;
    double sum = 0;

    CHECK(pumice_session_top_logprobs(session, 0, tokens, logprobs, 8, &count, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(count == 77);
    CHECK(pumice_session_decode(session, some, 5, err) == PUMICE_OK);
    CHECK(pumice_session_logits(session, 0, &logits, &n_vocab, err) == PUMICE_OK);

    tokens[5] = -3;
    logprobs[5] = 9.0f;
    CHECK(pumice_session_top_logprobs(session, 0, tokens, logprobs, 5, &count, err) == PUMICE_OK && count == 5);
    CHECK(tokens[5] == -3 && logprobs[5] == 9.0f);
    for (i = 0; i < 5; i++) {
        size_t better = 0, other;
        for (other = 0; other < n_vocab; other++)
            better += logits[other] > logits[tokens[i]]
                || (logits[other] == logits[tokens[i]] && other < (size_t)tokens[i]);
        CHECK(better == i);
        CHECK(fabs((logprobs[0] - logprobs[i]) - (logits[tokens[0]] - logits[tokens[i]])) < 1e-4);
    }

    /* all of them, though there is room for more: the probabilities add up to 1 */
    all = (pumice_token *)malloc((n_vocab + 9) * sizeof *all);
    all_logprobs = (float *)malloc((n_vocab + 9) * sizeof *all_logprobs);
    CHECK(all != NULL && all_logprobs != NULL);
    CHECK(pumice_session_top_logprobs(session, 0, all, all_logprobs, n_vocab + 9, &count, err) == PUMICE_OK);
    CHECK(count == n_vocab && memcmp(all, tokens, 5 * sizeof *all) == 0);
    for (i = 0; i < count; i++)
        sum += exp(all_logprobs[i]);
    CHECK(fabs(sum - 1) < 1e-4);
    free(all);
    free(all_logprobs);

    CHECK(pumice_session_top_logprobs(session, 0, NULL, NULL, 0, &count, err) == PUMICE_OK && count == 0);
    CHECK(pumice_session_top_logprobs(session, 0, NULL, logprobs, 5, &count, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_top_logprobs(session, 0, tokens, NULL, 5, &count, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_top_logprobs(session, 0, tokens, logprobs, 5, NULL, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_top_logprobs(session, 1, tokens, logprobs, 5, &count, err) == PUMICE_ERR_NOT_FOUND);
    pumice_session_free(session);
    pumice_model_free(model);
}

static void counters(void)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_CHUNK, 4);
    int64_t value = -5;

    CHECK(number(session, "chunk") == 4 && number(session, "threads") == 1 && number(session, "n_ctx") > 4);
    CHECK(number(session, "perf.prompt_tokens") == 0 && number(session, "perf.prompt_ns") == 0);
    CHECK(pumice_session_decode(session, some, 3, err) == PUMICE_OK);
    CHECK(pumice_session_decode(session, some, 1, err) == PUMICE_OK);
    CHECK(pumice_session_decode(session, some, 1, err) == PUMICE_OK);
    CHECK(number(session, "perf.prompt_tokens") == 3 && number(session, "perf.decode_tokens") == 2);
    CHECK(number(session, "perf.prompt_ns") > 0 && number(session, "perf.decode_ns") > 0);
    CHECK(pumice_session_perf_reset(session, err) == PUMICE_OK);
    CHECK(number(session, "perf.prompt_tokens") == 0 && number(session, "perf.decode_tokens") == 0);
    CHECK(number(session, "perf.prompt_ns") == 0 && number(session, "perf.decode_ns") == 0 && fed(session) == 5);
    CHECK(pumice_session_get_int(session, "perf", &value, err) == PUMICE_ERR_NOT_FOUND && value == -5);
    pumice_session_free(session);
    pumice_model_free(model);
}

static void embeddings(void)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_EMBEDDINGS, 1);
    const float *values = NULL;
    size_t count = 0, i, zeros = 0;
    int64_t n_embd = 0;

    CHECK(pumice_model_get_int(model, "n_embd", &n_embd, err) == PUMICE_OK);
    CHECK(pumice_session_embedding(session, 0, &values, &count, err) == PUMICE_ERR_NOT_FOUND && values == NULL);
    CHECK(pumice_session_decode(session, some, 5, err) == PUMICE_OK);
    CHECK(pumice_session_embedding(session, 0, &values, &count, err) == PUMICE_OK && count == (size_t)n_embd);
    for (i = 0; i < count; i++)
        zeros += values[i] == 0.0f;
    CHECK(zeros < count / 8);
    CHECK(pumice_session_embedding(session, 1, &values, &count, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(pumice_session_embedding(session, 0, NULL, &count, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_embedding(session, 0, &values, NULL, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_reset(session, err) == PUMICE_OK);
    CHECK(pumice_session_embedding(session, 0, &values, &count, err) == PUMICE_ERR_NOT_FOUND);
    pumice_session_free(session);

    session = new_session(model, NULL, 0);
    CHECK(pumice_session_decode(session, some, 5, err) == PUMICE_OK);
    CHECK(pumice_session_embedding(session, 0, &values, &count, err) == PUMICE_ERR_INVALID);
    pumice_session_free(session);
    pumice_model_free(model);
}

static int64_t memory(const pumice_model *model, const pumice_options *opts, const char *name)
{
    int64_t value = -1;
    CHECK(pumice_model_memory(model, opts, name, &value, err) == PUMICE_OK && value > 0);
    return value;
}

/* What is said beforehand is what a full context takes; one byte less is refused. */
static void limits(void)
{
    pumice_model *model = open_model();
    pumice_options *opts = NULL;
    pumice_session *session = NULL;
    static pumice_token tokens[256];
    size_t count = 99;
    int64_t kv, scratch, value = -7;
    char text[32];

    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_THREADS, 2, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_N_CTX, 256, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_CHUNK, 64, err) == PUMICE_OK);
    kv = memory(model, opts, "kv");
    scratch = memory(model, opts, "scratch");
    CHECK(memory(model, opts, "total") == kv + scratch + memory(model, opts, "weights"));
    CHECK(memory(model, NULL, "kv") >= kv);
    CHECK(pumice_model_memory(model, opts, "kvs", &value, err) == PUMICE_ERR_NOT_FOUND && value == -7);

    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_MEMORY_LIMIT, -1, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_MEMORY_LIMIT, kv + scratch - 1, err) == PUMICE_OK);
    CHECK(pumice_session_new(model, opts, &session, err) == PUMICE_OK);
    CHECK(number(session, "memory.limit") == kv + scratch - 1);
    CHECK(pumice_session_decode(session, tokens, 3, err) == PUMICE_OK);
    CHECK(pumice_session_decode(session, tokens, 253, err) == PUMICE_ERR_NO_MEMORY);
    sprintf(text, "%ld", (long)(kv + scratch - 1));
    CHECK(strstr(pumice_error_message(err), text) != NULL);
    CHECK(fed(session) == 3);
    CHECK(pumice_session_output_count(session, &count, err) == PUMICE_OK && count == 1);

    /* only what is set changes; what cannot change changes nothing */
    CHECK(pumice_options_unset(opts, PUMICE_KEY_SESSION_THREADS, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_MEMORY_LIMIT, kv + scratch, err) == PUMICE_OK);
    CHECK(pumice_session_configure(session, opts, err) == PUMICE_OK);
    CHECK(number(session, "threads") == 2 && number(session, "memory.limit") == kv + scratch);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_THREADS, 1, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_N_CTX, 255, err) == PUMICE_OK);
    CHECK(pumice_session_configure(session, opts, err) == PUMICE_ERR_INVALID && number(session, "threads") == 2);
    CHECK(pumice_options_unset(opts, PUMICE_KEY_SESSION_N_CTX, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_EMBEDDINGS, 1, err) == PUMICE_OK);
    CHECK(pumice_session_configure(session, opts, err) == PUMICE_ERR_INVALID && number(session, "threads") == 2);
    CHECK(pumice_session_configure(session, NULL, err) == PUMICE_OK);
    CHECK(pumice_session_configure(NULL, opts, err) == PUMICE_ERR_NULL);

    CHECK(pumice_session_decode(session, tokens, 253, err) == PUMICE_OK);
    CHECK(number(session, "memory.kv") == kv && number(session, "memory.scratch") == scratch);
    pumice_session_free(session);
    pumice_options_free(opts);
    pumice_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    embeddings();
    top_logprobs();
    counters();
    limits();
    pumice_error_free(err);
    return 0;
}
