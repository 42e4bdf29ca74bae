/*
 * Runs a model that is in memory, here read from a file first; it could as well be linked into the program, or come
 * from an archive or over a network.
 *
 *     memory MODEL PROMPT
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     cc examples/c/memory.c -o memory $(pkg-config --cflags --libs pumice)
 *     ./memory cli/model/austen.gguf "It was a fine morning, and"
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pumice.h"

/* The library does not copy the model. It says with this when nobody uses the memory any more. */
static void PUMICE_CALL release(void *user_data)
{
    free(user_data);
    fprintf(stderr, "the model's memory is free\n");
}

/* Reads a whole file; NULL if that is not possible. */
static void *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    void *data = NULL;
    long end = -1;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        end = ftell(file);
    if (end > 0 && fseek(file, 0, SEEK_SET) == 0) {
        *size = (size_t)end;
        data = malloc(*size);
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    if (file != NULL)
        fclose(file);
    return data;
}

static int32_t PUMICE_CALL print_text(
    void *user_data, const char *text, size_t len, const pumice_token *tokens, size_t count)
{
    (void)user_data;
    (void)tokens;
    (void)count;
    return len == 0 || fwrite(text, 1, len, stdout) == len ? PUMICE_CONTINUE : 0;
}

int main(int argc, char **argv)
{
    pumice_error *err = pumice_error_new();
    pumice_options *opts = NULL;
    pumice_model *model = NULL;
    pumice_session *session = NULL;
    pumice_sampler *sampler = NULL;
    pumice_token prompt[512];
    size_t count = 0, size = 0;
    void *data;
    pumice_status status;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    data = read_file(argv[1], &size);
    if (data == NULL) {
        fprintf(stderr, "cannot read %s\n", argv[1]);
        return 1;
    }
    /* From here on the memory is the library's; `release` is called even if this fails. */
    status = pumice_model_open_memory(data, size, release, data, NULL, &model, err);
    if (status == PUMICE_OK)
        status = pumice_options_new(&opts, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(opts, PUMICE_KEY_GENERATE_MAX_TOKENS, 40, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, 0, err);
    if (status == PUMICE_OK)
        status = pumice_session_new(model, NULL, &session, err);
    if (status == PUMICE_OK)
        status = pumice_sampler_new(model, opts, &sampler, err);
    if (status == PUMICE_OK)
        status = pumice_model_tokenize(
            model, argv[2], strlen(argv[2]), PUMICE_TOKENIZE_ADD_SPECIAL, prompt, 512, &count, err);
    if (status == PUMICE_OK)
        status = pumice_session_generate(session, sampler, prompt, count, opts, print_text, NULL, NULL, err);
    if (status == PUMICE_OK)
        printf("\n");
    else
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(err));

    /* The session and the sampler keep the model, so its memory is released by whichever goes last. */
    pumice_model_free(model);
    pumice_options_free(opts);
    pumice_sampler_free(sampler);
    pumice_session_free(session);
    pumice_error_free(err);
    return status == PUMICE_OK ? 0 : 1;
}
