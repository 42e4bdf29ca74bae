/* What models are good for besides text: how likely continuations are. */

#include <math.h>

#include "check.h"

static const pumice_token prompt[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
static const pumice_token other[] = {5, 6, 7, 8, 9, 10, 40, 41};
static const pumice_token short_one[] = {20}, long_one[] = {30, 31, 32, 33, 34};
static pumice_token very_long[150];
static const pumice_token *const ways[] = {short_one, long_one, NULL, very_long, long_one};
static const size_t lengths[] = {1, 5, 0, 150, 4};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The logarithm of a token's probability, by output 0. */
static double logprob(pumice_session *session, pumice_token token)
{
    const float *logits = NULL;
    size_t count = 0, i;
    double sum = 0;

    CHECK(pumice_session_logits(session, 0, &logits, &count, err) == PUMICE_OK && (size_t)token < count);
    for (i = 0; i < count; i++)
        sum += exp((double)logits[i] - logits[token]);
    return -log(sum);
}

/* The same for a continuation, token by token. */
static double alone(const pumice_token *before, size_t count, const pumice_token *tokens, size_t len)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, NULL, 0);
    double sum = 0;
    size_t i;

    CHECK(pumice_session_decode(session, before, count, err) == PUMICE_OK);
    for (i = 0; i < len; i++) {
        sum += logprob(session, tokens[i]);
        CHECK(pumice_session_decode(session, &tokens[i], 1, err) == PUMICE_OK);
    }
    pumice_session_free(session);
    pumice_model_free(model);
    return sum;
}

/* Whether sequence 0 has these tokens. */
static int holds(pumice_session *session, const pumice_token *tokens, size_t count)
{
    static pumice_token found[512];
    size_t len = 0;

    CHECK(pumice_session_seq_tokens(session, 0, found, COUNT(found), &len, err) == PUMICE_OK);
    return len == count && memcmp(found, tokens, count * sizeof *tokens) == 0;
}

static void scores(void)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, NULL, 0);
    pumice_batch *batch = NULL;
    double found[COUNT(ways)] = {0}, again[COUNT(ways)];
    size_t i, outputs = 9, count = 0;
    int64_t memory;

    CHECK(pumice_batch_new(&batch, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, 3, other, 4, PUMICE_OUTPUTS_NONE, err) == PUMICE_OK);
    CHECK(pumice_session_decode_batch(session, batch, err) == PUMICE_OK);
    CHECK(pumice_session_score(session, prompt, COUNT(prompt), NULL, NULL, 0, NULL, err) == PUMICE_OK);
    memory = number(session, "memory.kv");

    CHECK(pumice_session_score(session, prompt, COUNT(prompt), ways, lengths, COUNT(ways), found, err) == PUMICE_OK);
    for (i = 0; i < COUNT(ways); i++)
        CHECK(fabs(found[i] - alone(prompt, COUNT(prompt), ways[i], lengths[i])) < 1e-4);
    CHECK(found[0] < 0 && found[1] < found[4] && found[2] == 0);
    CHECK(holds(session, prompt, COUNT(prompt)) && number(session, "memory.kv") == memory);
    CHECK(pumice_session_seq_tokens(session, 3, NULL, 0, &count, err) == PUMICE_OK && count == 4);
    CHECK(pumice_session_output_count(session, &outputs, err) == PUMICE_OK && outputs == 0);

    /* the same to the last bit, whatever it held before; what the prompts share is not computed again */
    CHECK(pumice_session_score(session, other, COUNT(other), ways, lengths, 2, again, err) == PUMICE_OK);
    CHECK(fabs(again[1] - alone(other, COUNT(other), ways[1], lengths[1])) < 1e-4);
    CHECK(pumice_session_perf_reset(session, err) == PUMICE_OK);
    CHECK(pumice_session_score(session, prompt, COUNT(prompt), ways, lengths, COUNT(ways), again, err) == PUMICE_OK);
    CHECK(memcmp(again, found, sizeof found) == 0);
    CHECK(number(session, "perf.prompt_tokens") + number(session, "perf.decode_tokens") == 4 + 4 + 149 + 3);
    pumice_batch_free(batch);
    pumice_session_free(session);
    pumice_model_free(model);
}

static void refusals(void)
{
    static const pumice_token bad[] = {1, 1 << 20};
    static const pumice_token *const strange[] = {short_one, bad};
    static const pumice_token *const missing[] = {short_one, NULL};
    static const size_t two[] = {1, 2}, none[] = {1, 0};
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_N_CTX, 20);
    double out[2] = {7, 7};
    size_t outputs = 0;

    CHECK(pumice_session_decode(session, other, COUNT(other), err) == PUMICE_OK);
    CHECK(pumice_session_score(session, prompt, 0, ways, lengths, 2, out, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_score(session, bad, 2, ways, lengths, 2, out, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_score(session, prompt, 10, strange, two, 2, out, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_score(session, prompt, 10, missing, two, 2, out, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_score(session, prompt, 10, NULL, two, 2, out, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_score(session, prompt, 10, ways, NULL, 2, out, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_score(session, prompt, 10, ways, lengths, 2, NULL, err) == PUMICE_ERR_NULL);
    CHECK(pumice_session_score(session, prompt, 10, &ways[3], &lengths[3], 2, out, err) == PUMICE_ERR_CONTEXT_FULL);
    CHECK(pumice_session_score(session, very_long, 21, NULL, NULL, 0, out, err) == PUMICE_ERR_CONTEXT_FULL);
    CHECK(out[0] == 7 && out[1] == 7 && holds(session, other, COUNT(other)));
    CHECK(pumice_session_output_count(session, &outputs, err) == PUMICE_OK && outputs == 1);
    CHECK(pumice_session_score(session, prompt, 10, missing, none, 2, out, err) == PUMICE_OK && out[1] == 0);

    /* all positions: the last token of a continuation takes none */
    CHECK(pumice_session_score(session, very_long, 16, &ways[1], &lengths[1], 1, out, err) == PUMICE_OK);
    CHECK(pumice_session_score(session, very_long, 17, &ways[1], &lengths[1], 1, out, err) == PUMICE_ERR_CONTEXT_FULL);
    pumice_session_free(session);
    pumice_model_free(model);
}

/* Hears of each step, and cancels in one of them. */
struct steps {
    pumice_session *session;
    int left;
};

static void PUMICE_CALL on_step(void *data, int32_t level, const char *message, size_t len)
{
    struct steps *steps = (struct steps *)data;
    (void)message, (void)len;
    if (level == PUMICE_LOG_DEBUG && --steps->left == 0)
        pumice_session_cancel(steps->session);
}

/* A prompt and its continuations are one call: that one of its steps is over does not save it. */
static void cancelled(void)
{
    struct steps steps = {NULL, 0};
    pumice_model *model = open_model();
    pumice_options *opts = NULL;
    double out[COUNT(ways)] = {7};

    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_log(opts, PUMICE_LOG_DEBUG, on_step, &steps, NULL, err) == PUMICE_OK);
    CHECK(pumice_session_new(model, opts, &steps.session, err) == PUMICE_OK);
    steps.left = 1;
    CHECK(pumice_session_score(steps.session, prompt, 10, ways, lengths, 5, out, err) == PUMICE_ERR_CANCELLED);
    CHECK(out[0] == 7 && holds(steps.session, prompt, 10));
    CHECK(pumice_session_score(steps.session, prompt, 10, ways, lengths, 5, out, err) == PUMICE_OK && out[0] < 0);
    pumice_session_free(steps.session);
    pumice_options_free(opts);
    pumice_model_free(model);
}

int main(int argc, char **argv)
{
    size_t i;

    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    for (i = 0; i < COUNT(very_long); i++)
        very_long[i] = (pumice_token)(50 + i);
    scores();
    refusals();
    cancelled();
    pumice_error_free(err);
    return 0;
}
