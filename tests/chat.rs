//! Chat templates: what callers can ask for, and that no template can do harm.
#![cfg(feature = "chat")]

use std::time::{Duration, UNIX_EPOCH};

use pumice::token::EncodeOptions;
use pumice::{ChatMessage, ChatOptions, ChatTemplate, Error, Model};

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use tiny_model::{N_VOCAB, Tiny};

fn render(template: &str) -> Result<String, Error> {
    ChatTemplate::new(template)?.render(&[], &ChatOptions::default())
}

/// Templates that would need a thousand years, a thousand gigabytes or a stack to match.
#[test]
fn hostile_templates_end_in_an_error() {
    let many = |text: &str, times: usize| text.repeat(times);
    let loops = many("{% for x in range(99999) %}", 4) + &many("{% endfor %}", 4);
    let grow = |start: &str, step: &str, end: &str| {
        format!(
            "{{% set ns = namespace(v={start}) %}}{{% for i in range(90000) %}}{{% set ns.v = {step} %}}{{% endfor %}}{end}"
        )
    };
    let failing = [
        loops,
        "{{ 'a' * 99999999999 }}".into(),
        "{{ ([1] * 999999999)|length }}".into(),
        "{{ [[[1] * 9999] * 9999] * 9999 }}".into(),
        "{{ 'abc'.replace('', 'x' * 1000000) * 1000 }}".into(),
        "{{ ('x' * 100000).join('x' * 100000) }}".into(),
        "{{ '%999999999d' % 1 }}".into(),
        "{{ '{:>999999999}'.format(1) }}".into(),
        "{{ 'a'|center(99999999) }}".into(),
        "{{ 'a\nb'|indent(99999999) }}".into(),
        "{{ range(1000000000)|list }}".into(),
        "{{ 2 ** 99999999 }}".into(),
        "{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(1) }}".into(),
        "{% macro f() %}{% set x %}{{ f() }}{% endset %}{% endmacro %}{{ f() }}".into(),
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".into(),
        "{% set ns = namespace() %}{% set ns.a = {'x': [ns]} %}{{ ns.a }}".into(),
        grow("[]", "[ns.v]", "{{ ns.v }}"),
        grow("{}", "{'k': ns.v}", "{{ ns.v == ns.v }}"),
        grow("[1]", "ns.v + ns.v", "{{ ns.v|length }}"),
        grow("'aaaa'", "ns.v ~ ns.v", "{{ ns.v|length }}"),
        format!("{{% set v = [1] %}}{}{{{{ v|string|length }}}}", many("{% set v = [v, v] %}", 60)),
        format!(
            "{{% set v = [1] %}}{}{{{{ v == w }}}}",
            "{% set w = [1] %}".to_owned() + &many("{% set v = [v, v] %}{% set w = [w, w] %}", 60)
        ),
        format!("{{% set v = [1] %}}{}{{{{ v|tojson }}}}", many("{% set v = [v, v] %}", 60)),
    ];
    for template in failing {
        let shown = &template[..template.len().min(100)];
        assert!(matches!(render(&template), Err(Error::TemplateFailed { .. })), "{shown}");
    }
}

/// Templates nested so deep that walking them would overflow a stack.
#[test]
fn deep_templates_are_refused() {
    let many = |text: &str| text.repeat(100_000);
    let deep = [
        format!("{{{{ {}1 }}}}", many("-")),
        format!("{{{{ {}1 }}}}", many("not ")),
        format!("{{{{ {}1{} }}}}", many("("), many(")")),
        format!("{{{{ {}1{} }}}}", many("["), many("]")),
        format!("{{{{ {}1{} }}}}", many("{1:"), many("}")),
        format!("{{{{ 1{} }}}}", many("+1")),
        format!("{{{{ 1{} }}}}", many("**1")),
        format!("{{{{ 1{} }}}}", many(" and 1")),
        format!("{{{{ 1{} }}}}", many(" or 1")),
        format!("{{{{ 1{} }}}}", many(" if 1 else 1")),
        format!("{{{{ 1{} }}}}", many(" if 1")),
        format!("{{{{ x{} }}}}", many(".a")),
        format!("{{{{ x{} }}}}", many("[0]")),
        format!("{{{{ x{} }}}}", many("()")),
        format!("{{{{ x{} }}}}", many("|e")),
        format!("{{{{ x{} }}}}", many(" is x(1)")),
        format!("{{% for {}x{} in y %}}{{% endfor %}}", many("("), many(")")),
        many("{% if 1 %}"),
        many("{% for x in y %}"),
        many("{% macro f() %}"),
        many("{% generation %}"),
        many("{% set x %}"),
        many("{% filter e %}"),
        many("{% with %}"),
        "x".repeat((1 << 20) + 1),
    ];
    for template in deep {
        let shown = &template[..template.len().min(40)];
        assert!(matches!(ChatTemplate::new(&template), Err(Error::TemplateSyntax { .. })), "{shown}");
    }
    // Long is not deep.
    assert_eq!(render(&format!("{{{{ 1{} }}}}", "~1".repeat(10_000))).unwrap().len(), 10_001);
    assert_eq!(render(&("{% if 0 %}".to_owned() + &"{% elif 0 %}".repeat(10_000) + "{% endif %}")).unwrap(), "");
}

/// The deepest that is allowed, on a thread with a stack as small as C programs may have.
#[test]
fn callers_need_little_stack() {
    let nested = "(".repeat(190) + "1" + &")".repeat(190);
    let chain = "1".to_owned() + &"+1".repeat(190);
    let blocks = "{% if 1 %}".repeat(49) + "{{ " + &nested + "}}{{" + &chain + " }}" + &"{% endif %}".repeat(49);
    let calls = "{% macro f(n) %}{% if n %}{{ [[f(n - 1)|length]] }}{% endif %}{% endmacro %}{{ f(60)|length > 4 }}";
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let run = move || {
        assert_eq!(render(&blocks).unwrap(), "1191");
        assert_eq!(render(calls).unwrap(), "True");
        let deep = "[".repeat(60) + &"]".repeat(60);
        let json = format!("{{\"messages\": [], \"x\": {deep}}}");
        let template = ChatTemplate::new("{{ x }}{{ x|tojson }}{{ x == x }}").unwrap();
        assert_eq!(template.render_json(&json, &ChatOptions::default()).unwrap(), deep.clone() + &deep + "True");
    };
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn long_conversations_have_a_budget_to_match() {
    let text = "word ".repeat(200_000);
    let messages: Vec<_> = (0..20).map(|_| ChatMessage { role: "user", content: &text }).collect();
    let template = ChatTemplate::new(
        "{% for m in messages %}{% set c = m.content | trim %}{{ '<' + m['role'] + '>' + c.strip() + '\\n' }}{% endfor %}",
    );
    let out = template.unwrap().render(&messages, &ChatOptions::default()).unwrap();
    assert_eq!(out.len(), 20 * (text.len() - 1 + "<user>\n".len()));
    let many: Vec<_> = (0..20_000).map(|_| ChatMessage { role: "user", content: "x" }).collect();
    let template =
        ChatTemplate::new("{% for m in messages %}{{ m.role ~ m.content }}{% endfor %}{{ messages[1:]|length }}");
    assert!(template.unwrap().render(&many, &ChatOptions::default()).unwrap().ends_with("x19999"));
}

#[test]
fn errors_say_where() {
    let error = |template: &str| render(template).unwrap_err().to_string();
    assert_eq!(error("a\n\n{{ 1 + }}"), "chat template, line 3: expected an expression, found `}}`");
    assert_eq!(error("a\n{% if true %}"), "chat template, line 2: `if` has no end");
    assert_eq!(error("\n{{ 'a\nb"), "chat template, line 2: a string has no end");
    assert_eq!(error("{% include 'x' %}"), "chat template, line 1: the tag `include` is not supported");
    assert_eq!(error("\n\n{{ x.y }}"), "chat template, line 3: `x` is undefined");
    assert_eq!(error("{{ 1|shout }}"), "chat template, line 1: there is no filter `shout`");
    assert_eq!(error("{{ raise_exception('a\nb') }}"), "the chat template refused the messages: a\\nb");
}

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

/// A model with these metadata entries.
fn model(entries: &[(&str, &str)]) -> Model {
    let mut tiny = Tiny::llama();
    for (key, text) in entries {
        tiny.set(key, gguf_bytes::str(text));
    }
    tiny.build().unwrap()
}

#[test]
fn models_have_templates() {
    let hi = [ChatMessage { role: "user", content: "Hi" }];
    let without = model(&[]);
    assert_eq!(without.chat_template(), None);
    for _ in 0..2 {
        assert!(matches!(without.chat(), Err(Error::NoChatTemplate { key, .. }) if key == "tokenizer.chat_template"));
    }

    let with = model(&[("tokenizer.chat_template", CHATML)]);
    assert_eq!(with.chat_template(), Some(CHATML));
    let text = with.chat().unwrap().render(&hi, &ChatOptions::default()).unwrap();
    assert_eq!(text, "<|im_start|>user\nHi<|im_end|>\n");
    assert!(std::ptr::eq(with.chat().unwrap(), with.clone().chat().unwrap()), "it is read once");

    let broken = model(&[("tokenizer.chat_template", "a\n{% if %}")]);
    for _ in 0..2 {
        assert!(matches!(broken.chat(), Err(Error::TemplateSyntax { line: 2, .. })));
    }
}

#[test]
fn a_template_for_tools_is_used_where_there_are_some() {
    let with = model(&[
        ("tokenizer.chat_template", "plain"),
        ("tokenizer.chat_template.tool_use", "tools: {{ tools|length }}"),
        ("tokenizer.chat_template.rag", "documents"),
    ]);
    assert_eq!(with.named_chat_template("rag"), Some("documents"));
    assert_eq!(with.named_chat_template("other"), None);
    let render = |json: &str| with.chat().unwrap().render_json(json, &ChatOptions::default()).unwrap();
    assert_eq!(render(r#"{"messages": [], "tools": [{}, {}]}"#), "tools: 2");
    assert_eq!(render(r#"{"messages": [], "tools": []}"#), "plain");
    assert_eq!(render(r#"{"messages": [], "tools": null}"#), "plain");
    assert_eq!(render(r#"{"messages": []}"#), "plain");
}

#[test]
fn special_tokens_are_variables() {
    let mut tiny = Tiny::llama();
    let names = (0..N_VOCAB)
        .map(|i| gguf_bytes::str(["<unk>", "<s>", "</s>"].get(i).map_or(format!("w{i}"), |s| s.to_string())));
    tiny.set("tokenizer.ggml.model", gguf_bytes::str("llama"));
    tiny.set("tokenizer.ggml.tokens", gguf_bytes::array(8, names.collect()));
    tiny.set(
        "tokenizer.ggml.scores",
        gguf_bytes::array(6, (0..N_VOCAB).map(|i| gguf_bytes::f32(-(i as f32))).collect()),
    );
    let kinds = (0..N_VOCAB).map(|i| {
        gguf_bytes::i32(if i == 0 {
            2
        } else if i < 3 {
            3
        } else {
            1
        })
    });
    tiny.set("tokenizer.ggml.token_type", gguf_bytes::array(5, kinds.collect()));
    let template = "{{ bos_token }}[{{ messages[0].content }}]{{ eos_token }}{{ unk_token }}{{ pad_token is defined }}";
    tiny.set("tokenizer.chat_template", gguf_bytes::str(template));
    let model = tiny.build().unwrap();
    let hi = [ChatMessage { role: "user", content: "w5" }];
    let text = model.chat().unwrap().render(&hi, &ChatOptions::default()).unwrap();
    assert_eq!(text, "<s>[w5]</s><unk>False");
    assert_eq!(model.chat_with("{{ eos_token }}").unwrap().render(&[], &ChatOptions::default()).unwrap(), "</s>");
    // A caller's variable counts more.
    let json = r#"{"messages": [{"content": "x"}], "bos_token": "B"}"#;
    assert!(model.chat().unwrap().render_json(json, &ChatOptions::default()).unwrap().starts_with("B[x]</s>"));

    // The text's own beginning is not doubled.
    let full = EncodeOptions { add_special: true, parse_special: true };
    let tokens = model.tokenizer().unwrap().encode("<s>w5</s>", full).unwrap();
    assert_eq!(tokens.iter().filter(|token| **token == 1).count(), 1);
    let plain = EncodeOptions { add_special: true, parse_special: false };
    assert_eq!(model.tokenizer().unwrap().encode("w5", plain).unwrap()[0], 1);
}

#[test]
fn options_are_variables() {
    let template = ChatTemplate::new("{{ strftime_now('%Y') }} {{ add_generation_prompt }} {{ tools }}").unwrap();
    let now = Some(UNIX_EPOCH + Duration::from_secs(951_782_400));
    let options = ChatOptions { add_generation_prompt: true, now };
    assert_eq!(template.render(&[], &options).unwrap(), "2000 True None");
    let json = r#"{"messages": [], "add_generation_prompt": false, "tools": 1}"#;
    assert_eq!(template.render_json(json, &options).unwrap(), "2000 False 1");
    assert!(template.render(&[], &ChatOptions::default()).unwrap().ends_with(" False None"));
}
