/*
 * Generates until Ctrl-C: the signal handler stops the call that is running, and the program goes on from there.
 *
 *     cancel MODEL PROMPT
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     cc examples/c/cancel.c -o cancel $(pkg-config --cflags --libs pumice)
 *     ./cancel cli/model/austen.gguf "It was a fine morning, and"
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pumice.h"

/* Set before the handler is, and freed after the handler is gone. */
static pumice_session *session;
static volatile sig_atomic_t interrupted;

/* pumice_session_cancel is the one function that a signal handler may call. It acts on a call that is running; the flag
 * is for a signal that comes between two calls. */
static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
    pumice_session_cancel(session);
}

static int32_t PUMICE_CALL print_text(
    void *user_data, const char *text, size_t len, const pumice_token *tokens, size_t count)
{
    (void)user_data;
    (void)tokens;
    (void)count;
    if (len > 0)
        fwrite(text, 1, len, stdout);
    fflush(stdout);
    return PUMICE_CONTINUE;
}

int main(int argc, char **argv)
{
    pumice_error *err = pumice_error_new();
    pumice_model *model = NULL;
    pumice_sampler *sampler = NULL;
    pumice_token prompt[512];
    size_t count = 0;
    pumice_status status;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    status = pumice_model_open(argv[1], NULL, &model, err);
    if (status == PUMICE_OK)
        status = pumice_session_new(model, NULL, &session, err);
    if (status == PUMICE_OK)
        status = pumice_sampler_new(model, NULL, &sampler, err);
    if (status == PUMICE_OK)
        status = pumice_model_tokenize(
            model, argv[2], strlen(argv[2]), PUMICE_TOKENIZE_ADD_SPECIAL, prompt, 512, &count, err);

    if (status == PUMICE_OK) {
        signal(SIGINT, interrupt);
        /* Each generation that reaches its end is followed by another one, from the start. */
        while (status == PUMICE_OK && !interrupted) {
            status = pumice_session_reset(session, err);
            if (status == PUMICE_OK)
                status = pumice_session_generate(
                    session, sampler, prompt, count, NULL, print_text, NULL, NULL, err);
        }
        signal(SIGINT, SIG_DFL);
    }
    if (interrupted && (status == PUMICE_OK || status == PUMICE_ERR_CANCELLED)) {
        /* What was fed stays in the session: another call could go on with it. */
        status = pumice_session_seq_tokens(session, 0, NULL, 0, &count, err);
        if (status == PUMICE_OK)
            printf("\n(interrupted after %lu tokens)\n", (unsigned long)count);
    }
    if (status != PUMICE_OK)
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(err));

    pumice_sampler_free(sampler);
    pumice_session_free(session);
    pumice_model_free(model);
    pumice_error_free(err);
    return status == PUMICE_OK ? 0 : 1;
}
