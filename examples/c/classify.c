/*
 * Puts texts into classes: prints the most likely class of each, its probability, and the text.
 *
 *     classify MODEL HEAD TEXT...
 *
 * HEAD is a file with a classification head for the model, as `pumice head train` makes it; "" if the model has its own.
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     cc examples/c/classify.c -o classify $(pkg-config --cflags --libs pumice) -lm
 *     ./classify model.gguf head.gguf "What a fine morning!"
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pumice.h"

#define MAX_TOKENS 2048
#define MAX_CLASSES 256

static pumice_token tokens[MAX_TOKENS];
static float scores[MAX_CLASSES];

static pumice_status classify(pumice_model *model, pumice_session *session, const char *text, pumice_error *err)
{
    const char *label = NULL;
    size_t count = 0, classes = 0, len = 0, best = 0, i;
    double sum = 0;
    pumice_status status = pumice_model_tokenize(
        model, text, strlen(text), PUMICE_TOKENIZE_ADD_SPECIAL, tokens, MAX_TOKENS, &count, err);

    if (status == PUMICE_OK)
        status = pumice_session_classify(session, tokens, count, scores, MAX_CLASSES, &classes, err);
    for (i = 1; i < classes; i++)
        if (scores[i] > scores[best])
            best = i;
    /* The scores are logits: their softmax are the probabilities. */
    for (i = 0; i < classes; i++)
        sum += exp((double)scores[i] - (double)scores[best]);
    if (status == PUMICE_OK)
        status = pumice_model_label(model, best, &label, &len, err);
    if (status == PUMICE_OK)
        printf("%.*s\t%.3f\t%s\n", (int)len, label, 1 / sum, text);
    return status;
}

int main(int argc, char **argv)
{
    pumice_error *err = pumice_error_new();
    pumice_options *opts = NULL;
    pumice_model *model = NULL;
    pumice_session *session = NULL;
    pumice_status status;
    int i;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL HEAD TEXT...\n", argv[0]);
        return 2;
    }
    status = pumice_options_new(&opts, err);
    if (status == PUMICE_OK)
        status = pumice_options_set_string(opts, PUMICE_KEY_MODEL_HEAD, argv[2], strlen(argv[2]), err);
    if (status == PUMICE_OK)
        status = pumice_model_open(argv[1], opts, &model, err);
    if (status == PUMICE_OK)
        status = pumice_session_new(model, NULL, &session, err);
    for (i = 3; i < argc && status == PUMICE_OK; i++)
        status = classify(model, session, argv[i], err);
    if (status != PUMICE_OK)
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(err));

    pumice_session_free(session);
    pumice_model_free(model);
    pumice_options_free(opts);
    pumice_error_free(err);
    return status == PUMICE_OK ? 0 : 1;
}
