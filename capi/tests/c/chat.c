/* Chat templates: what is written, what is refused, and how. */

#include "check.h"

/* In the manner of SmolLM2's. */
static const char own[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static const char *const roles[] = {"user", "assistant", "user"};
static const char *const contents[] = {"Hi", "Hello & <b>\xc3\xa9</b>", ""};

static void arrays(const pumice_model *model)
{
    static const char expected[] =
        "<|im_start|>system\nYou are helpful<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello & <b>\xc3\xa9</b><|im_end|>\n<|im_start|>user\n<|im_end|>\n";
    static const char prompt[] = "<|im_start|>assistant\n";
    const size_t size = strlen(expected);
    const int32_t with_prompt = PUMICE_CHAT_GENERATION_PROMPT;
    char buf[1000];
    size_t len = 0;

    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, buf, sizeof buf, &len, err) == PUMICE_OK);
    CHECK(len == size && strcmp(buf, expected) == 0);
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, with_prompt, buf, sizeof buf, &len, err)
        == PUMICE_OK);
    CHECK(len == size + strlen(prompt) && strcmp(buf + size, prompt) == 0);
    CHECK(pumice_model_chat_format(model, own, NULL, NULL, 0, with_prompt, buf, sizeof buf, &len, err) == PUMICE_OK);
    CHECK(strcmp(buf, prompt) == 0);

    /* the pattern of buffers: ask, too small, room without and with a NUL */
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, NULL, 0, &len, err) == PUMICE_OK);
    CHECK(len == size);
    memset(buf, '#', sizeof buf);
    len = 0;
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, buf, size - 1, &len, err)
        == PUMICE_ERR_BUFFER_TOO_SMALL);
    CHECK(len == size && buf[0] == '#');
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, buf, size, &len, err) == PUMICE_OK);
    CHECK(buf[size - 1] == '\n' && buf[size] == '#');
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, buf, size + 1, &len, err) == PUMICE_OK);
    CHECK(buf[size] == 0 && buf[size + 1] == '#');

    /* what is wrong leaves everything alone */
    memset(buf, '#', sizeof buf);
    len = 77;
    CHECK(pumice_model_chat_format(model, NULL, roles, contents, 3, 0, buf, 99, &len, err) == PUMICE_ERR_NOT_FOUND);
    CHECK(strstr(pumice_error_message(err), "tokenizer.chat_template") != NULL);
    CHECK(pumice_model_chat_format(model, own, NULL, contents, 3, 0, buf, 99, &len, err) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format(model, own, roles, NULL, 3, 0, buf, 99, &len, err) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, NULL, 99, &len, err) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 0, buf, 99, NULL, err) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format(NULL, own, roles, contents, 3, 0, buf, 99, &len, err) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, 2, buf, 99, &len, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_model_chat_format(model, own, roles, contents, 3, -1, buf, 99, &len, err) == PUMICE_ERR_INVALID);
    CHECK(pumice_model_chat_format(model, "\xff", roles, contents, 3, 0, buf, 99, &len, err) == PUMICE_ERR_UTF8);
    CHECK(pumice_model_chat_format(model, "{% if %}", roles, contents, 3, 0, buf, 99, &len, err)
        == PUMICE_ERR_SYNTAX);
    CHECK(strstr(pumice_error_message(err), "line 1") != NULL);
    CHECK(pumice_model_chat_format(model, "a\n{{ raise_exception('not so') }}", roles, contents, 3, 0, buf, 99, &len,
              err) == PUMICE_ERR_INVALID);
    CHECK(strstr(pumice_error_message(err), "not so") != NULL);
    CHECK(pumice_model_chat_format(model, "a\n{{ messages[0].no.thing }}", roles, contents, 3, 0, buf, 99, &len, err)
        == PUMICE_ERR_INVALID);
    CHECK(strstr(pumice_error_message(err), "line 2") != NULL);
    {
        const char *bad[3];
        memcpy(bad, contents, sizeof bad);
        bad[2] = NULL;
        CHECK(pumice_model_chat_format(model, own, roles, bad, 3, 0, buf, 99, &len, err) == PUMICE_ERR_NULL);
        CHECK(pumice_model_chat_format(model, own, bad, contents, 3, 0, buf, 99, &len, err) == PUMICE_ERR_NULL);
        bad[2] = "\xc3";
        CHECK(pumice_model_chat_format(model, own, roles, bad, 3, 0, buf, 99, &len, err) == PUMICE_ERR_UTF8);
        CHECK(pumice_model_chat_format(model, own, bad, contents, 3, 0, buf, 99, &len, err) == PUMICE_ERR_UTF8);
    }
    CHECK(len == 77 && buf[0] == '#');
}

static pumice_status json(const pumice_model *model, const char *tmpl, const char *text, char *buf, size_t cap)
{
    size_t len = 0;
    return pumice_model_chat_format_json(model, tmpl, text, strlen(text), buf, cap, &len, err);
}

static void objects(const pumice_model *model)
{
    static const char tools[] =
        "{{ bos_token is defined }}|{% for t in tools %}{{ t|tojson }}{% endfor %}|{{ mood }}|{{ messages[0].content[0].text }}"
        "{{ '!' if add_generation_prompt else '.' }}";
    char buf[1000];
    size_t len = 77;

    CHECK(json(model, own, "{\"messages\": [{\"role\": \"system\", \"content\": \"\\u00e9\"}]}", buf, 99) == PUMICE_OK);
    CHECK(strcmp(buf, "<|im_start|>system\n\xc3\xa9<|im_end|>\n") == 0);
    CHECK(json(model, tools,
              "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"Hi\"}]}],"
              " \"tools\": [{\"b\":1,\"a\":[true,null,1.50]}], \"mood\": \"calm\", \"add_generation_prompt\": true}",
              buf, 999) == PUMICE_OK);
    CHECK(strstr(buf, "|{\"b\": 1, \"a\": [true, null, 1.5]}|calm|Hi!") != NULL);

    CHECK(json(model, own, "{\"messages\": [}", buf, 99) == PUMICE_ERR_SYNTAX);
    CHECK(strstr(pumice_error_message(err), "byte 14") != NULL);
    CHECK(json(model, "{{", "{\"messages\": []}", buf, 99) == PUMICE_ERR_SYNTAX);
    CHECK(json(model, own, "{}", buf, 99) == PUMICE_ERR_INVALID);
    CHECK(json(model, own, "{\"messages\": 1}", buf, 99) == PUMICE_ERR_INVALID);
    CHECK(json(model, own, "[]", buf, 99) == PUMICE_ERR_INVALID);
    CHECK(json(model, own, "", buf, 99) == PUMICE_ERR_SYNTAX);
    CHECK(json(model, own, "\"\xff\"", buf, 99) == PUMICE_ERR_UTF8);
    CHECK(json(model, NULL, "{\"messages\": []}", buf, 99) == PUMICE_ERR_NOT_FOUND);
    CHECK(json(model, own, "{\"messages\": [{}]}", buf, 99) == PUMICE_ERR_INVALID);
    CHECK(json(model, own, "{\"messages\": []}", NULL, 99) == PUMICE_ERR_NULL);
    CHECK(json(NULL, own, "{\"messages\": []}", buf, 99) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format_json(model, own, NULL, 5, buf, 99, &len, err) == PUMICE_ERR_NULL);
    CHECK(pumice_model_chat_format_json(model, own, "{\"messages\": []}", 16, buf, 99, NULL, err) == PUMICE_ERR_NULL);
    CHECK(len == 77);
}

/* From messages to a session that has read them. */
static void whole_way(const pumice_model *model)
{
    const int32_t flags = PUMICE_TOKENIZE_ADD_SPECIAL | PUMICE_TOKENIZE_PARSE_SPECIAL;
    pumice_session *session = new_session(model, NULL, 0);
    pumice_token tokens[200];
    char buf[1000];
    size_t len = 0, count = 0;

    CHECK(pumice_model_chat_format(model, own, roles, contents, 2, 0, buf, sizeof buf, &len, err) == PUMICE_OK);
    CHECK(pumice_model_tokenize(model, buf, len, flags, tokens, 200, &count, err) == PUMICE_OK && count > 10);
    CHECK((int64_t)count < number(session, "n_ctx"));
    CHECK(pumice_session_decode(session, tokens, count, err) == PUMICE_OK && fed(session) == count);
    pumice_session_free(session);
}

/* Templates that would take for ever, or more memory or stack than there is. */
static void hostile(const pumice_model *model)
{
    static const char *const templates[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'a' * 999999999999 }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a }}",
    };
    char *deep = (char *)malloc(1 << 17);
    char buf[100];
    size_t i, len = 0;

    for (i = 0; i < sizeof templates / sizeof *templates; i++) {
        CHECK(pumice_model_chat_format(model, templates[i], NULL, NULL, 0, 0, buf, sizeof buf, &len, err)
            == PUMICE_ERR_INVALID);
    }
    CHECK(deep != NULL);
    strcpy(deep, "{{ ");
    memset(deep + 3, '-', (1 << 17) - 10);
    strcpy(deep + (1 << 17) - 7, "1 }}");
    CHECK(pumice_model_chat_format(model, deep, NULL, NULL, 0, 0, buf, sizeof buf, &len, err) == PUMICE_ERR_SYNTAX);
    memset(deep, '[', 1 << 16);
    CHECK(pumice_model_chat_format_json(model, own, deep, 1 << 16, buf, sizeof buf, &len, err) == PUMICE_ERR_SYNTAX);
    free(deep);
}

int main(int argc, char **argv)
{
    pumice_model *model;
    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    model = open_model();
    CHECK(pumice_has_feature("chat") == 1 && pumice_has_feature("chats") == 0);
    arrays(model);
    objects(model);
    whole_way(model);
    hostile(model);
    pumice_model_free(model);
    pumice_error_free(err);
    return 0;
}
