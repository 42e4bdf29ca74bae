/*
 * A chat with an instruction-tuned model, line by line:
 *
 *     chat MODEL [SYSTEM [TEMPLATE]]
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     cc examples/c/chat.c -o chat $(pkg-config --cflags --libs pumice)
 *     ./chat model.gguf "You are a helpful assistant."
 *
 * Each turn writes the whole conversation with the model's chat template, or with TEMPLATE. What of it the session has
 * been fed already, all but the last question, is not computed again.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pumice.h"

#define MAX_MESSAGES 1000
#define MAX_LINE 4096

typedef struct {
    pumice_error *err;
    pumice_model *model;
    pumice_session *session;
    pumice_sampler *sampler;
    pumice_options *opts;
    const char *template_text; /* NULL: the model's own */
    const char *roles[MAX_MESSAGES];
    char *contents[MAX_MESSAGES];
    size_t count;
} chat;

/* A text that grows. */
typedef struct {
    char *data;
    size_t len;
} text;

static void *checked(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static void append(text *to, const char *data, size_t len)
{
    to->data = (char *)checked(realloc(to->data, to->len + len + 1));
    if (len > 0)
        memcpy(to->data + to->len, data, len);
    to->len += len;
    to->data[to->len] = 0;
}

static void add_message(chat *c, const char *role, const char *content)
{
    text copy = {NULL, 0};
    append(&copy, content, strlen(content));
    c->roles[c->count] = role;
    c->contents[c->count++] = copy.data;
}

/* Prints the answer as it comes, and keeps it. */
static int32_t PUMICE_CALL on_text(
    void *user_data, const char *data, size_t len, const pumice_token *tokens, size_t count)
{
    (void)tokens;
    (void)count;
    append((text *)user_data, data, len);
    if (len > 0)
        fwrite(data, 1, len, stdout);
    fflush(stdout);
    return PUMICE_CONTINUE;
}

/* The conversation so far as tokens, up to where the answer begins. The caller frees them. */
static pumice_status conversation(chat *c, pumice_token **tokens, size_t *count)
{
    const char *const *contents = (const char *const *)c->contents;
    const int32_t flags = PUMICE_TOKENIZE_ADD_SPECIAL | PUMICE_TOKENIZE_PARSE_SPECIAL;
    char *written = NULL;
    size_t len = 0;
    pumice_status status = pumice_model_chat_format(c->model, c->template_text, c->roles, contents, c->count,
        PUMICE_CHAT_GENERATION_PROMPT, NULL, 0, &len, c->err);
    if (status != PUMICE_OK)
        return status;
    written = (char *)checked(malloc(len + 1));
    status = pumice_model_chat_format(c->model, c->template_text, c->roles, contents, c->count,
        PUMICE_CHAT_GENERATION_PROMPT, written, len + 1, &len, c->err);
    if (status == PUMICE_OK)
        status = pumice_model_tokenize(c->model, written, len, flags, NULL, 0, count, c->err);
    if (status == PUMICE_OK) {
        *tokens = (pumice_token *)checked(malloc((*count + 1) * sizeof **tokens));
        status = pumice_model_tokenize(c->model, written, len, flags, *tokens, *count, count, c->err);
    }
    free(written);
    return status;
}

/* Forgets what the session has been fed that is not in the conversation; how much is left is stored in `kept`. */
static pumice_status reuse(chat *c, const pumice_token *tokens, size_t count, size_t *kept)
{
    size_t fed = 0;
    pumice_token *have;
    pumice_status status = pumice_session_seq_tokens(c->session, 0, NULL, 0, &fed, c->err);
    if (status != PUMICE_OK)
        return status;
    have = (pumice_token *)checked(malloc((fed + 1) * sizeof *have));
    status = pumice_session_seq_tokens(c->session, 0, have, fed, &fed, c->err);
    /* One token has to be fed, for its logits. */
    for (*kept = 0; status == PUMICE_OK && *kept < fed && *kept + 1 < count && have[*kept] == tokens[*kept];)
        ++*kept;
    free(have);
    return status == PUMICE_OK ? pumice_session_seq_truncate(c->session, 0, *kept, c->err) : status;
}

/* Answers the last message. */
static pumice_status answer(chat *c)
{
    pumice_token *tokens = NULL;
    size_t count = 0, kept = 0;
    text said = {NULL, 0};
    pumice_status status = conversation(c, &tokens, &count);
    if (status == PUMICE_OK)
        status = reuse(c, tokens, count, &kept);
    if (status == PUMICE_OK)
        status = pumice_session_generate(
            c->session, c->sampler, tokens + kept, count - kept, c->opts, on_text, &said, NULL, c->err);
    if (status == PUMICE_OK) {
        printf("\n");
        fprintf(stderr, "(%lu tokens, %lu of them kept)\n", (unsigned long)count, (unsigned long)kept);
        add_message(c, "assistant", said.data != NULL ? said.data : "");
    }
    free(said.data);
    free(tokens);
    return status;
}

int main(int argc, char **argv)
{
    static chat c;
    char line[MAX_LINE];
    pumice_status status;

    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL [SYSTEM [TEMPLATE]]\n", argv[0]);
        return 2;
    }
    c.err = pumice_error_new();
    c.template_text = argc > 3 ? argv[3] : NULL;
    if (argc > 2 && argv[2][0] != 0)
        add_message(&c, "system", argv[2]);
    status = pumice_model_open(argv[1], NULL, &c.model, c.err);
    if (status == PUMICE_OK)
        status = pumice_session_new(c.model, NULL, &c.session, c.err);
    if (status == PUMICE_OK)
        status = pumice_options_new(&c.opts, c.err);
    if (status == PUMICE_OK)
        status = pumice_options_set_float(c.opts, PUMICE_KEY_SAMPLER_TEMPERATURE, 0.2, c.err);
    if (status == PUMICE_OK)
        status = pumice_options_set_float(c.opts, PUMICE_KEY_SAMPLER_REPEAT_PENALTY, 1.1, c.err);
    if (status == PUMICE_OK)
        status = pumice_options_set_int(c.opts, PUMICE_KEY_GENERATE_MAX_TOKENS, 300, c.err);
    if (status == PUMICE_OK)
        status = pumice_sampler_new(c.model, c.opts, &c.sampler, c.err);

    while (status == PUMICE_OK && c.count + 2 <= MAX_MESSAGES && printf("> ") > 0 && fflush(stdout) == 0
        && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        add_message(&c, "user", line);
        status = answer(&c);
    }
    if (status != PUMICE_OK)
        fprintf(stderr, "%s: %s\n", pumice_status_name(status), pumice_error_message(c.err));

    while (c.count > 0)
        free(c.contents[--c.count]);
    pumice_sampler_free(c.sampler);
    pumice_session_free(c.session);
    pumice_model_free(c.model);
    pumice_options_free(c.opts);
    pumice_error_free(c.err);
    return status == PUMICE_OK ? 0 : 1;
}
