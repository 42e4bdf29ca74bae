/* What models are good for besides text: how likely continuations are, texts as vectors, classes of texts. */

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

/* Each is one call: that one of its steps is over does not save it. */
static void cancelled(void)
{
    struct steps steps = {NULL, 0};
    pumice_model *model = open_model();
    pumice_options *opts = NULL;
    double out[COUNT(ways)] = {7};
    static float vector[4096];
    size_t len = 99;

    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_CHUNK, 4, err) == PUMICE_OK);
    CHECK(pumice_options_set_log(opts, PUMICE_LOG_DEBUG, on_step, &steps, NULL, err) == PUMICE_OK);
    CHECK(pumice_session_new(model, opts, &steps.session, err) == PUMICE_OK);
    steps.left = 2;
    CHECK(pumice_session_embed(steps.session, prompt, 10, vector, 4096, &len, err) == PUMICE_ERR_CANCELLED);
    CHECK(vector[0] == 0 && len == 99 && number(steps.session, "memory.kv") == 0);
    CHECK(pumice_session_embed(steps.session, prompt, 10, vector, 4096, &len, err) == PUMICE_OK && vector[0] != 0);
    steps.left = 3;
    CHECK(pumice_session_score(steps.session, prompt, 10, ways, lengths, 5, out, err) == PUMICE_ERR_CANCELLED);
    CHECK(out[0] == 7 && holds(steps.session, prompt, 10));
    CHECK(pumice_session_score(steps.session, prompt, 10, ways, lengths, 5, out, err) == PUMICE_OK && out[0] < 0);
    pumice_session_free(steps.session);
    pumice_options_free(opts);
    pumice_model_free(model);
}

/* The final hidden states of a text, as they are kept beside the logits: [token][n_embd]. */
static float *hidden_states(const pumice_model *model, const pumice_token *tokens, size_t count, size_t *n_embd)
{
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_EMBEDDINGS, 1);
    pumice_batch *batch = NULL;
    const float *row = NULL;
    float *rows = NULL;
    size_t i;

    CHECK(pumice_batch_new(&batch, err) == PUMICE_OK);
    CHECK(pumice_batch_add(batch, 0, tokens, count, PUMICE_OUTPUTS_ALL, err) == PUMICE_OK);
    CHECK(pumice_session_decode_batch(session, batch, err) == PUMICE_OK);
    for (i = 0; i < count; i++) {
        CHECK(pumice_session_embedding(session, i, &row, n_embd, err) == PUMICE_OK);
        if (rows == NULL)
            rows = (float *)malloc(count * *n_embd * sizeof *rows);
        CHECK(rows != NULL);
        memcpy(rows + i * *n_embd, row, *n_embd * sizeof *rows);
    }
    pumice_batch_free(batch);
    pumice_session_free(session);
    return rows;
}

static void configure(pumice_session *session, const char *pooling, int normalize)
{
    pumice_options *opts = NULL;
    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_SESSION_POOLING, pooling, strlen(pooling), err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_NORMALIZE, normalize, err) == PUMICE_OK);
    CHECK(pumice_session_configure(session, opts, err) == PUMICE_OK);
    pumice_options_free(opts);
}

#define N COUNT(prompt)

static void vectors(void)
{
    static const pumice_token bad[] = {1, 1 << 20};
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_N_CTX, 64);
    pumice_options *opts = NULL;
    size_t n_embd = 0, len = 0, outputs = 9, i, t;
    float *rows = hidden_states(model, prompt, N, &n_embd), *out = (float *)malloc(N * n_embd * sizeof *out);
    double length = 0, mean;

    CHECK(out != NULL);
    CHECK(pumice_session_decode(session, other, COUNT(other), err) == PUMICE_OK);

    /* the mean, of length 1 */
    CHECK(pumice_session_embed(session, prompt, N, NULL, 0, &len, err) == PUMICE_OK && len == n_embd);
    CHECK(pumice_session_output_count(session, &outputs, err) == PUMICE_OK && outputs == 1);
    CHECK(pumice_session_embed(session, prompt, N, out, n_embd, &len, err) == PUMICE_OK && len == n_embd);
    for (i = 0; i < n_embd; i++)
        length += (double)out[i] * out[i];
    CHECK(fabs(length - 1) < 1e-5);
    configure(session, "mean", 0);
    CHECK(pumice_session_embed(session, prompt, N, out, N * n_embd, &len, err) == PUMICE_OK && len == n_embd);
    for (i = 0; i < n_embd; i++) {
        for (mean = 0, t = 0; t < N; t++)
            mean += rows[t * n_embd + i] / (double)N;
        CHECK(fabs(out[i] - mean) < 1e-5);
    }

    /* one of them, and all */
    configure(session, "last", 0);
    CHECK(pumice_session_embed(session, prompt, N, out, n_embd, &len, err) == PUMICE_OK && len == n_embd);
    CHECK(memcmp(out, &rows[(N - 1) * n_embd], n_embd * sizeof *out) == 0);
    configure(session, "cls", 0);
    CHECK(pumice_session_embed(session, prompt, N, out, n_embd, &len, err) == PUMICE_OK && len == n_embd);
    CHECK(memcmp(out, rows, n_embd * sizeof *out) == 0);
    configure(session, "none", 0);
    CHECK(pumice_session_embed(session, prompt, N, out, N * n_embd, &len, err) == PUMICE_OK && len == N * n_embd);
    CHECK(memcmp(out, rows, N * n_embd * sizeof *out) == 0);

    /* what the session held is there, its outputs are not */
    CHECK(holds(session, other, COUNT(other)));
    CHECK(pumice_session_output_count(session, &outputs, err) == PUMICE_OK && outputs == 0);

    out[0] = 7;
    len = 99;
    CHECK(pumice_session_embed(session, prompt, 0, out, n_embd, &len, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_embed(session, bad, 2, out, N * n_embd, &len, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_embed(session, very_long, 65, NULL, n_embd, &len, err) == PUMICE_ERR_NULL && len == 99);
    CHECK(pumice_session_embed(session, prompt, N, out, N * n_embd - 1, &len, err) == PUMICE_ERR_BUFFER_TOO_SMALL);
    CHECK(out[0] == 7 && len == N * n_embd);
    configure(session, "auto", 1);
    CHECK(pumice_session_embed(session, very_long, 65, out, n_embd, &len, err) == PUMICE_ERR_CONTEXT_FULL);
    CHECK(pumice_session_embed(session, very_long, 64, out, n_embd, &len, err) == PUMICE_OK && len == n_embd);

    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_SESSION_POOLING, "median", 6, err) == PUMICE_ERR_INVALID);
    CHECK(strstr(pumice_error_message(err), "none, mean, cls, last") != NULL);
    pumice_options_free(opts);
    free(rows);
    free(out);
    pumice_session_free(session);
    pumice_model_free(model);
}

/* GGUF files, written byte by byte. */
static void put(FILE *file, unsigned long long value, int bytes)
{
    for (; bytes > 0; bytes--, value >>= 8)
        CHECK(fputc((int)(value & 0xff), file) != EOF);
}

static void put_text(FILE *file, const char *text)
{
    put(file, strlen(text), 8);
    CHECK(fputs(text, file) != EOF);
}

static void align(FILE *file)
{
    while (ftell(file) % 32 != 0)
        put(file, 0, 1);
}

static float weight(size_t i)
{
    return (float)(i * 37 % 101) / 50.0f - 1.0f;
}

/* A head of three classes, W x + b of the mean hidden state. */
static void write_head(const char *file_name, const char *arch, size_t n_embd)
{
    static const char *const labels[3] = {"no", "maybe", "yes"};
    float *weights = (float *)malloc(3 * n_embd * sizeof *weights);
    FILE *file = fopen(file_name, "wb");
    char key[64];
    size_t i;

    CHECK(file != NULL && weights != NULL);
    CHECK(fputs("GGUF", file) != EOF);
    put(file, 3, 4); /* version */
    put(file, 2, 8); /* tensors */
    put(file, 3, 8); /* keys */
    put_text(file, "general.architecture");
    put(file, 8, 4); /* a string */
    put_text(file, arch);
    sprintf(key, "%s.classifier.pooling_type", arch);
    put_text(file, key);
    put(file, 4, 4); /* a uint32 */
    put(file, 1, 4); /* the mean */
    sprintf(key, "%s.classifier.output_labels", arch);
    put_text(file, key);
    put(file, 9, 4); /* an array */
    put(file, 8, 4); /* of strings */
    put(file, 3, 8);
    for (i = 0; i < 3; i++)
        put_text(file, labels[i]);
    put_text(file, "cls.output.weight");
    put(file, 2, 4); /* dimensions */
    put(file, n_embd, 8);
    put(file, 3, 8);
    put(file, 0, 4); /* float32 */
    put(file, 0, 8); /* where it begins */
    put_text(file, "cls.output.bias");
    put(file, 1, 4);
    put(file, 3, 8);
    put(file, 0, 4);
    put(file, (3 * n_embd * sizeof *weights + 31) / 32 * 32, 8);
    align(file);
    for (i = 0; i < 3 * n_embd; i++)
        weights[i] = weight(i);
    CHECK(fwrite(weights, sizeof *weights, 3 * n_embd, file) == 3 * n_embd);
    align(file);
    CHECK(fwrite(weights, sizeof *weights, 3, file) == 3);
    CHECK(fclose(file) == 0);
    free(weights);
}

static pumice_status open_with_head(const char *head, pumice_model **model)
{
    pumice_options *opts = NULL;
    pumice_status status;

    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_string(opts, PUMICE_KEY_MODEL_HEAD, head, strlen(head), err) == PUMICE_OK);
    status = pumice_model_open(path, opts, model, err);
    pumice_options_free(opts);
    return status;
}

static int is_label(const pumice_model *model, size_t index, const char *expected)
{
    const char *text = NULL;
    size_t len = 0;
    CHECK(pumice_model_label(model, index, &text, &len, err) == PUMICE_OK);
    return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

static int64_t labels_of(const pumice_model *model)
{
    int64_t count = -1;
    CHECK(pumice_model_get_int(model, "n_labels", &count, err) == PUMICE_OK);
    return count;
}

static void classes(const char *head)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, NULL, 0);
    size_t n_embd = 0, len = 99, class_, i, t;
    float *rows = hidden_states(model, prompt, N, &n_embd), scores[4] = {7, 7, 7, 7};
    const char *text = path;

    /* without a head */
    CHECK(labels_of(model) == 0);
    CHECK(pumice_model_label(model, 0, &text, &len, err) == PUMICE_ERR_NOT_FOUND && text == path);
    CHECK(pumice_session_classify(session, prompt, N, scores, 4, &len, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_session_classify(session, prompt, N, NULL, 0, &len, err) == PUMICE_ERR_INVALID);
    CHECK(scores[0] == 7 && len == 99);
    pumice_session_free(session);
    pumice_model_free(model);

    /* heads that do not fit */
    CHECK(open_with_head("/nowhere.gguf", &model) == PUMICE_ERR_IO && model == NULL);
    CHECK(open_with_head(path, &model) == PUMICE_ERR_FORMAT && model == NULL);
    write_head(head, "gpt2", n_embd);
    CHECK(open_with_head(head, &model) == PUMICE_ERR_MISMATCH && model == NULL);

    write_head(head, "llama", n_embd);
    CHECK(open_with_head(head, &model) == PUMICE_OK);
    CHECK(remove(head) == 0); /* it is open */
    CHECK(labels_of(model) == 3);
    CHECK(is_label(model, 0, "no") && is_label(model, 1, "maybe") && is_label(model, 2, "yes"));
    CHECK(pumice_model_label(model, 3, &text, &len, err) == PUMICE_ERR_NOT_FOUND && text == path && len == 99);
    session = new_session(model, NULL, 0);
    CHECK(pumice_session_decode(session, other, COUNT(other), err) == PUMICE_OK);
    CHECK(pumice_session_classify(session, prompt, N, NULL, 0, &len, err) == PUMICE_OK && len == 3);
    CHECK(pumice_session_classify(session, prompt, N, scores, 2, &len, err) == PUMICE_ERR_BUFFER_TOO_SMALL);
    CHECK(scores[0] == 7 && pumice_session_classify(session, prompt, 0, scores, 3, &len, err) == PUMICE_ERR_INVALID);
    CHECK(scores[0] == 7 && pumice_session_classify(session, prompt, N, scores, 4, &len, err) == PUMICE_OK);
    for (class_ = 0; class_ < 3; class_++) {
        double sum = weight(class_);
        for (i = 0; i < n_embd; i++)
            for (t = 0; t < N; t++)
                sum += weight(class_ * n_embd + i) * (double)rows[t * n_embd + i] / (double)N;
        CHECK(fabs(scores[class_] - sum) < 1e-4 * (1 + fabs(sum)));
    }
    CHECK(scores[3] == 7 && len == 3 && holds(session, other, COUNT(other)));
    free(rows);
    pumice_session_free(session);
    pumice_model_free(model);
}

int main(int argc, char **argv)
{
    char head[512];
    size_t i;

    if (argc != 2 || strlen(argv[0]) > 500)
        return 2;
    path = argv[1];
    sprintf(head, "%s.gguf", argv[0]);
    err = pumice_error_new();
    for (i = 0; i < COUNT(very_long); i++)
        very_long[i] = (pumice_token)(50 + i);
    scores();
    refusals();
    cancelled();
    vectors();
    classes(head);
    pumice_error_free(err);
    return 0;
}
