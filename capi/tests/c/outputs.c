/* What a session gives back: the most likely tokens, counters. */

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

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    top_logprobs();
    counters();
    pumice_error_free(err);
    return 0;
}
