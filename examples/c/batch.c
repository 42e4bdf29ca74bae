/*
 * Writes on from several prompts at once: their sequences go through the model together, token by token.
 *
 *     batch MODEL MAX_TOKENS PROMPT...
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     cc examples/c/batch.c -o batch $(pkg-config --cflags --libs pumice)
 *     ./batch cli/model/austen.gguf 40 "It was a fine morning, and" "Her mother"
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pumice.h"

#define MAX_PROMPTS 8
#define MAX_PROMPT_TOKENS 512

typedef struct {
    pumice_token tokens[MAX_PROMPT_TOKENS]; /* what is to be fed next: the prompt, then the last token */
    size_t count;
    pumice_token *text; /* what was generated */
    size_t length;
    int ended;
} sequence;

static sequence sequences[MAX_PROMPTS];

/* One token more for every sequence that goes on; how many do is stored in `going`. */
static pumice_status step(const pumice_model *model, pumice_session *session, pumice_sampler *sampler,
    pumice_batch *batch, int count, int *going, pumice_error *err)
{
    pumice_status status = pumice_batch_clear(batch, err);
    size_t output = 0;
    int i;

    *going = 0;
    for (i = 0; i < count && status == PUMICE_OK; i++)
        if (!sequences[i].ended) {
            status = pumice_batch_add(
                batch, i, sequences[i].tokens, sequences[i].count, PUMICE_OUTPUTS_LAST, err);
            ++*going;
        }
    if (status != PUMICE_OK || *going == 0)
        return status;

    status = pumice_session_decode_batch(session, batch, err);
    /* The outputs are in the order in which the runs were added. */
    for (i = 0; i < count && status == PUMICE_OK; i++)
        if (!sequences[i].ended) {
            pumice_token token = 0;
            int32_t flags = 0;
            status = pumice_sampler_sample(sampler, session, output++, &token, err);
            if (status == PUMICE_OK)
                status = pumice_model_token_flags(model, token, &flags, err);
            sequences[i].text[sequences[i].length++] = token;
            sequences[i].tokens[0] = token;
            sequences[i].count = 1;
            sequences[i].ended = (flags & PUMICE_TOKEN_END) != 0;
        }
    return status;
}

/* Prints what was generated for a sequence. */
static pumice_status print_text(const pumice_model *model, const sequence *s, pumice_error *err)
{
    size_t len = 0;
    pumice_status status = pumice_model_detokenize(model, s->text, s->length, 0, NULL, 0, &len, err);
    char *text = status == PUMICE_OK ? (char *)malloc(len + 1) : NULL;
    if (text != NULL) {
        status = pumice_model_detokenize(model, s->text, s->length, 0, text, len + 1, &len, err);
        if (status == PUMICE_OK)
            printf("%.*s\n", (int)len, text);
    }
    free(text);
    return status;
}

int main(int argc, char **argv)
{
    pumice_error *err = pumice_error_new();
    pumice_options *opts = NULL;
    pumice_model *model = NULL;
    pumice_session *session = NULL;
    pumice_sampler *sampler = NULL;
    pumice_batch *batch = NULL;
    const int count = argc - 3, max_tokens = argc > 2 ? atoi(argv[2]) : 0;
    pumice_status status;
    int i, n, going = 1;

    if (count < 1 || count > MAX_PROMPTS || max_tokens < 1) {
        fprintf(stderr, "usage: %s MODEL MAX_TOKENS PROMPT... (up to %d prompts)\n", argv[0], MAX_PROMPTS);
        return 2;
    }
    status = pumice_model_open(argv[1], NULL, &model, err);
    if (status == PUMICE_OK)
        status = pumice_session_new(model, NULL, &session, err);
    /* Greedy, so one sampler serves all; with a seed or penalties each sequence would have its own. */
    if (status == PUMICE_OK)
        status = pumice_options_new(&opts, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, 0, err);
    if (status == PUMICE_OK)
        status = pumice_sampler_new(model, opts, &sampler, err);
    if (status == PUMICE_OK)
        status = pumice_batch_new(&batch, err);

    for (i = 0; i < count && status == PUMICE_OK; i++) {
        sequence *s = &sequences[i];
        status = pumice_model_tokenize(model, argv[3 + i], strlen(argv[3 + i]), PUMICE_TOKENIZE_ADD_SPECIAL,
            s->tokens, MAX_PROMPT_TOKENS, &s->count, err);
        s->text = (pumice_token *)calloc((size_t)max_tokens, sizeof *s->text);
        if (s->text == NULL) {
            fprintf(stderr, "out of memory\n");
            return 1;
        }
    }
    for (n = 0; n < max_tokens && going > 0 && status == PUMICE_OK; n++)
        status = step(model, session, sampler, batch, count, &going, err);
    for (i = 0; i < count && status == PUMICE_OK; i++)
        status = print_text(model, &sequences[i], err);
    if (status != PUMICE_OK)
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(err));

    for (i = 0; i < count; i++)
        free(sequences[i].text);
    pumice_batch_free(batch);
    pumice_sampler_free(sampler);
    pumice_session_free(session);
    pumice_model_free(model);
    pumice_options_free(opts);
    pumice_error_free(err);
    return status == PUMICE_OK ? 0 : 1;
}
