/*
 * Generates text from a GGUF file:
 *
 *     generate MODEL PROMPT [MAX_TOKENS [TEMPERATURE [SEED]]]
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     cc examples/c/generate.c -o generate $(pkg-config --cflags --libs pumice)
 *     ./generate cli/model/austen.gguf "It was a fine morning, and" 60
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pumice.h"

/* Prints text as it comes. Any answer but PUMICE_CONTINUE would end the generation. */
static int32_t PUMICE_CALL print_text(
    void *user_data, const char *text, size_t len, const pumice_token *tokens, size_t count)
{
    FILE *file = (FILE *)user_data;
    (void)tokens;
    (void)count;
    if (len > 0 && fwrite(text, 1, len, file) != len)
        return 0;
    fflush(file);
    return PUMICE_CONTINUE;
}

int main(int argc, char **argv)
{
    pumice_error *err = pumice_error_new();
    pumice_options *opts = NULL;
    pumice_model *model = NULL;
    pumice_session *session = NULL;
    pumice_sampler *sampler = NULL;
    pumice_token *prompt = NULL;
    size_t count = 0;
    int32_t finish = 0;
    pumice_status status;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT [MAX_TOKENS [TEMPERATURE [SEED]]]\n", argv[0]);
        return 2;
    }

    /* One set of options serves all calls: each reads its own keys. */
    status = pumice_options_new(&opts, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(opts, PUMICE_KEY_GENERATE_MAX_TOKENS, argc > 3 ? atoi(argv[3]) : 100, err);
    if (status == PUMICE_OK && argc > 4)
        status = pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, atof(argv[4]), err);
    if (status == PUMICE_OK && argc > 5)
        status = pumice_options_set_int(opts, PUMICE_KEY_SAMPLER_SEED, atoi(argv[5]), err);

    if (status == PUMICE_OK)
        status = pumice_model_open(argv[1], opts, &model, err);
    if (status == PUMICE_OK)
        status = pumice_session_new(model, opts, &session, err);
    if (status == PUMICE_OK)
        status = pumice_sampler_new(model, opts, &sampler, err);

    /* Ask for the number of tokens, then for the tokens. */
    if (status == PUMICE_OK)
        status = pumice_model_tokenize(
            model, argv[2], strlen(argv[2]), PUMICE_TOKENIZE_ADD_SPECIAL, NULL, 0, &count, err);
    if (status == PUMICE_OK) {
        prompt = (pumice_token *)malloc((count + 1) * sizeof *prompt);
        if (prompt == NULL) {
            fprintf(stderr, "out of memory\n");
            return 1;
        }
        status = pumice_model_tokenize(
            model, argv[2], strlen(argv[2]), PUMICE_TOKENIZE_ADD_SPECIAL, prompt, count, &count, err);
    }

    if (status == PUMICE_OK)
        status = pumice_session_generate(session, sampler, prompt, count, opts, print_text, stdout, &finish, err);
    if (status == PUMICE_OK)
        printf("\n");
    else
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(err));

    /* In any order; NULL is fine. */
    free(prompt);
    pumice_sampler_free(sampler);
    pumice_session_free(session);
    pumice_model_free(model);
    pumice_options_free(opts);
    pumice_error_free(err);
    return status == PUMICE_OK ? 0 : 1;
}
