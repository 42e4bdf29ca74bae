// Chat templates: the model's own, others, and what they refuse.

#include "check.hpp"

using namespace pumice;

int main(int, char **argv)
{
    const Model model = Model::open(argv[1]);
    const std::string plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
                              "{% if add_generation_prompt %}<answer>{% endif %}{{ more }}";
    const std::vector<Message> messages = {{"system", "Be brief."}, {"user", "\xc3\x84?"}};
    CHECK(model.chat_format(messages, true, plain) == "<system>Be brief.<user>\xc3\x84?<answer>");
    CHECK(model.chat_format(messages, false, plain) == "<system>Be brief.<user>\xc3\x84?");
    CHECK(model.chat_format({}, true, plain) == "<answer>");
    const char *json = R"({"messages": [{"role": "user", "content": "x"}], "more": "!"})";
    CHECK(model.chat_format_json(json, plain) == "<user>x!");

    FAILS(syntax, model.chat_format(messages, true, "{% for %}"));
    FAILS(syntax, model.chat_format_json("{", plain));
    FAILS(utf8, model.chat_format({{"user", "\xff"}}, true, plain));
    FAILS(invalid, model.chat_format(messages, true, "{{ raise_exception('no') }}"));
    FAILS(not_found, model.chat_format(messages)); // this model has none
}
