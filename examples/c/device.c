/*
 * For a small device: pumice as a static library, one thread, a limit to its memory, no file system. The model is
 * linked into the program, where it stays: nothing of it is copied.
 *
 * Build and run, from the top of the repository, which makes a program that runs without any other file:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig
 *     cp cli/model/austen.gguf model.gguf && ld -r -z noexecstack -b binary model.gguf -o model.o
 *     cc -Os examples/c/device.c model.o -o device $(pkg-config --cflags --libs pumice-static) -Wl,--gc-sections -s
 *     ./device
 */

#include <stdio.h>

#include "pumice.h"

/* What `ld -b binary` names the bytes of model.gguf. */
extern const unsigned char _binary_model_gguf_start[], _binary_model_gguf_end[];

/* The device's output: a display, a serial line. */
static int32_t PUMICE_CALL put(void *user_data, const char *text, size_t len, const pumice_token *tokens, size_t count)
{
    size_t i;
    (void)user_data;
    (void)tokens;
    (void)count;
    for (i = 0; i < len; i++)
        if (putchar(text[i]) == EOF)
            return 0; /* stop */
    return PUMICE_CONTINUE;
}

/* What to set: one thread, which is the caller's; the room for a short text, and no more memory than this for it. */
static pumice_status configure(pumice_options *opts, pumice_error *err)
{
    pumice_status status = pumice_options_set_int(opts, PUMICE_KEY_SESSION_THREADS, 1, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(opts, PUMICE_KEY_SESSION_N_CTX, 128, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(opts, PUMICE_KEY_SESSION_CHUNK, 16, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(opts, PUMICE_KEY_SESSION_MEMORY_LIMIT, 4 << 20, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(opts, PUMICE_KEY_GENERATE_MAX_TOKENS, 40, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_float(opts, PUMICE_KEY_SAMPLER_TEMPERATURE, 0, err);
    return status;
}

int main(void)
{
    const size_t size = (size_t)(_binary_model_gguf_end - _binary_model_gguf_start);
    pumice_error *err = pumice_error_new();
    pumice_options *opts = NULL;
    pumice_model *model = NULL;
    pumice_session *session = NULL;
    pumice_sampler *sampler = NULL;
    pumice_token prompt[64];
    size_t count = 0;
    pumice_status status = pumice_options_new(&opts, err);

    if (status == PUMICE_OK)
        status = configure(opts, err);
    if (status == PUMICE_OK)
        status = pumice_model_open_memory(_binary_model_gguf_start, size, NULL, NULL, opts, &model, err);
    if (status == PUMICE_OK)
        status = pumice_session_new(model, opts, &session, err);
    if (status == PUMICE_OK)
        status = pumice_sampler_new(model, opts, &sampler, err);
    if (status == PUMICE_OK)
        status = pumice_model_tokenize(
            model, "It was a fine morning, and", 26, PUMICE_TOKENIZE_ADD_SPECIAL, prompt, 64, &count, err);
    if (status == PUMICE_OK)
        status = pumice_session_generate(session, sampler, prompt, count, opts, put, NULL, NULL, err);
    if (status == PUMICE_OK)
        putchar('\n');
    else
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(err));

    pumice_sampler_free(sampler);
    pumice_session_free(session);
    pumice_model_free(model);
    pumice_options_free(opts);
    pumice_error_free(err);
    return status == PUMICE_OK ? 0 : 1;
}
