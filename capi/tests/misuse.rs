//! Every function with every kind of bad argument, one at a time: a C program that is made from the header.
//!
//! Each argument has a good value, chosen here by its type and name; the call with good values only must succeed. A new
//! function is called as well; if an argument's good value cannot be guessed, the test asks for it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::{Command, Stdio};

mod support;

use support::interface::{self, Function, Interface, Parameter};

/// What is not refused: function or `*`, parameter by name or declaration, argument, and why it does no harm.
const HARMLESS: &[[&str; 4]] = &[
    ["*", "pumice_error *err", "NULL", "no details are wanted"],
    ["*", "const pumice_options *opts", "NULL", "the defaults"],
    ["*", "user_data", "NULL", "only handed on"],
    ["*", "drop", "NULL", "nobody wants to know"],
    ["*", "fn", "NULL", "nobody wants to know"],
    ["pumice_session_generate", "finish", "NULL", "nobody wants to know"],
    ["session.memory_limit", "value", "INT64_MAX", "more than there is limits nothing"],
    ["pumice_session_top_logprobs", "cap", "0", "it stores what there is room for"],
    ["pumice_batch_add", "seq", "INT32_MAX", "a sequence like any other"],
    ["pumice_batch_add", "tokens", "strangers[1]", "the batch knows no model: decoding refuses it"],
    ["pumice_session_seq_tokens", "seq", "INT32_MAX", "a sequence that does not exist has no tokens"],
    ["pumice_session_seq_truncate", "seq", "INT32_MAX", "a sequence that does not exist has nothing to forget"],
    ["pumice_session_seq_truncate", "keep", "SIZE_MAX", "it has fewer"],
    ["pumice_session_seq_fork", "to", "INT32_MAX", "a sequence like any other"],
    ["pumice_session_state_save", "seq", "-1", "all sequences"],
    ["pumice_session_state_save", "seq", "INT32_MAX", "a sequence that does not exist has no tokens"],
    ["pumice_session_state_save_file", "seq", "-1", "all sequences"],
    ["pumice_session_state_save_file", "seq", "INT32_MAX", "a sequence that does not exist has no tokens"],
    ["pumice_session_state_load", "seq", "-1", "all sequences"],
    ["pumice_session_state_load", "seq", "INT32_MAX", "a sequence like any other"],
    ["pumice_session_state_load_file", "seq", "-1", "all sequences"],
    ["pumice_session_state_load_file", "seq", "INT32_MAX", "a sequence like any other"],
    ["pumice_sampler_set_bias", "bias", "odd_biases[1]", "infinity makes a token certain"],
    ["pumice_sampler_set_bias", "bias", "odd_biases[2]", "negative infinity forbids a token"],
    ["pumice_status_name", "status", "*", "the name of all unknown statuses"],
    ["sampler.frequency_penalty", "value", "-1.0", "a reward"],
    ["sampler.presence_penalty", "value", "-1.0", "a reward"],
    ["sampler.seed", "value", "*", "any number is a seed"],
    ["pumice_model_open_reader", "size", "UINT64_MAX", "nothing is asked for beyond the last tensor"],
];

/// Refused with another status than such arguments usually are.
const OTHERWISE: &[[&str; 4]] = &[
    ["*", "index", "SIZE_MAX", "PUMICE_ERR_NOT_FOUND"],
    ["*", "tmpl", "NULL", "PUMICE_ERR_NOT_FOUND"], // the model's own, and this model has none
];

/// Values that succeed, by function or `*` and parameter.
const GOOD: &[[&str; 3]] = &[
    ["*", "path", "path"],
    ["*", "tokens", "tokens"],
    ["*", "prompt", "tokens"],
    ["*", "prompt_count", "3"],
    ["*", "continuations", "continuations"],
    ["*", "counts", "counts"],
    ["*", "count", "3"],
    ["*", "index", "0"],
    ["*", "flags", "0"],
    ["*", "token", "5"],
    ["*", "seq", "0"],
    ["*", "keep", "3"],
    ["*", "from", "0"],
    ["*", "to", "1"],
    ["*", "prefix", "1"],
    ["*", "outputs", "PUMICE_OUTPUTS_LAST"],
    ["*", "status", "PUMICE_ERR_IO"],
    ["*", "bias", "biases"],
    ["*", "user_data", "zeros"],
    ["*", "data", "file"],
    ["*", "size", "file_size"],
    ["pumice_session_state_load", "data", "state"],
    ["pumice_session_state_load", "len", "state_size"],
    ["pumice_session_state_save_file", "path", "saved_path"],
    ["pumice_session_state_load_file", "path", "state_path"],
    ["pumice_sampler_sample_logits", "logits", "logits"],
    ["pumice_sampler_sample_logits", "count", "n_vocab"],
    ["pumice_has_feature", "name", "\"arch:llama\""],
    ["pumice_model_get_int", "name", "\"n_vocab\""],
    ["pumice_model_get_string", "name", "\"arch\""],
    ["pumice_model_memory", "name", "\"kv\""],
    ["*", "level", "PUMICE_LOG_WARN"],
    ["pumice_model_special_token", "name", "\"eos\""],
    ["pumice_session_get_int", "name", "\"n_ctx\""],
    ["pumice_model_meta_type", "key", "\"general.architecture\""],
    ["pumice_model_meta_string", "key", "\"general.architecture\""],
    ["pumice_model_meta_int", "key", "\"llama.block_count\""],
    ["pumice_model_meta_float", "key", "\"llama.attention.layer_norm_rms_epsilon\""],
    ["pumice_options_set_int", "key", "\"session.n_ctx\""],
    ["pumice_options_set_int", "value", "16"],
    ["pumice_options_set_float", "key", "\"sampler.temperature\""],
    ["pumice_options_set_float", "value", "0.5"],
    ["pumice_options_set_string", "key", "\"session.kernels\""],
    ["pumice_options_set_string", "value", "\"auto\""],
    ["pumice_options_set_string", "len", "4"],
    ["pumice_options_unset", "key", "\"session.n_ctx\""],
    ["*", "tmpl", "\"{{ messages|length }}\""],
    ["*", "roles", "roles"],
    ["*", "contents", "contents"],
    ["*", "json", "\"{\\\"messages\\\":[]}\""],
    ["*", "json_len", "15"],
    ["pumice_model_tokenize", "text", "\"It was\""],
    ["pumice_model_tokenize", "len", "6"],
    ["pumice_model_memory", "name", "\"total\""],
];

/// What a parameter is for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Role {
    Handle,
    /// The `err` at the end.
    Error,
    /// A place for a handle, or for something else.
    NewHandle,
    Out,
    /// A buffer for results, whose size is a later parameter.
    Buffer,
    /// Values, whose number is a later parameter.
    Array,
    /// Text that ends with NUL.
    Name,
    /// The length of an array, or the room in a buffer.
    Length,
    Room,
    Number,
    Callback,
    UserData,
}

fn role(interface: &Interface, function: &Function, at: usize) -> Role {
    let parameters = &function.parameters;
    let Parameter { ty, name } = &parameters[at];
    let is_length = |p: &Parameter| {
        let names = ["len", "count", "cap", "size"];
        p.ty == "size_t" && names.iter().any(|name| p.name == *name || p.name.ends_with(&format!("_{name}")))
    };
    // Arrays that share a length follow each other.
    let sized = |at: usize| {
        let rest = parameters[at + 1..].iter();
        let mut rest = rest.skip_while(|p| p.ty.ends_with('*') && p.ty != "const char *" && ty != "const char *");
        rest.next().is_some_and(is_length)
    };
    let pointee = ty.strip_suffix('*').map(str::trim_end);
    match pointee {
        _ if interface.callbacks.iter().any(|callback| callback.name == *ty) => Role::Callback,
        None if is_length(&parameters[at]) && name == "cap" => Role::Room,
        None if is_length(&parameters[at]) => Role::Length,
        None => Role::Number,
        Some("pumice_error") if name == "err" && at + 1 == parameters.len() && !function.name.contains("_error_") => {
            Role::Error
        }
        Some(_) if interface.handle(ty).is_some() => Role::Handle,
        Some("void") if name == "user_data" => Role::UserData,
        Some(pointee) if interface.handle(pointee).is_some() => Role::NewHandle,
        Some(pointee) if pointee.starts_with("const ") && !pointee.ends_with("*") || pointee.ends_with("*const") => {
            match sized(at) {
                true => Role::Array,
                false if pointee == "const char" => Role::Name,
                false => panic!("{}: {name} is an array without a length", function.name),
            }
        }
        Some(_) if sized(at) => Role::Buffer,
        Some(_) => Role::Out,
    }
}

/// The rows of a table for a parameter of a function, or of an option; the special ones before the general.
fn rows<'a, const N: usize>(
    table: &'static [[&'static str; N]],
    subject: &'a str,
    parameter: &'a Parameter,
) -> impl Iterator<Item = &'static [&'static str; N]> + 'a {
    let fits = |row: &&[&str; N]| row[1] == parameter.name || row[1] == parameter.declaration();
    let of = move |name: &'a str| table.iter().filter(move |row| row[0] == name).filter(fits);
    of(subject).chain(of("*"))
}

/// The good arguments of a function, as C.
fn good(interface: &Interface, function: &Function) -> Vec<String> {
    let mut places = 0;
    let mut arguments = Vec::new();
    for (at, Parameter { ty, name }) in function.parameters.iter().enumerate() {
        let role = role(interface, function, at);
        arguments.push(match role {
            Role::Handle | Role::Error => format!("good.{}", &interface.handle(ty).unwrap().0["pumice_".len()..]),
            Role::Out | Role::NewHandle | Role::Buffer => {
                places += 1;
                format!("({ty})place[{}]", places - 1)
            }
            Role::Room => format!("ROOM / {}", size_of_element(function, at)),
            Role::Callback => format!("on_{}", ty["pumice_".len()..].strip_suffix("_fn").unwrap()),
            _ => match rows(GOOD, &function.name, &function.parameters[at]).next() {
                Some(row) => row[2].to_owned(),
                None => panic!("{} needs a good value for {name} in the table", function.prototype()),
            },
        });
    }
    arguments
}

/// Of the buffer whose room parameter number `at` says, in C.
fn size_of_element(function: &Function, at: usize) -> String {
    match function.parameters[at - 1].ty.strip_suffix('*').unwrap().trim_end() {
        "void" => "1".to_owned(),
        ty => format!("sizeof({ty})"),
    }
}

/// Bad values for a parameter, with what they are called and the status that refuses them.
fn bad(interface: &Interface, function: &Function, at: usize, good: &str) -> Vec<(String, String, &'static str)> {
    let Parameter { ty, name } = &function.parameters[at];
    let role = role(interface, function, at);
    let mut out = Vec::new();
    let mut add = |what: &str, value: String, status| out.push((what.to_owned(), value, status));
    let extremes =
        |values: &[&'static str]| values.iter().map(|value| (*value, (*value).to_owned())).collect::<Vec<_>>();
    if ty.ends_with('*') || role == Role::Callback {
        add("NULL", "NULL".to_owned(), "PUMICE_ERR_NULL");
    }
    let misaligned = format!("({ty})((char *){good} + 1)");
    match role {
        Role::Handle | Role::Error => {
            let own = interface.handle(ty).unwrap().0;
            for other in interface.handles.iter().filter(|other| *other != own) {
                add(other, format!("({ty})good.{}", &other["pumice_".len()..]), "PUMICE_ERR_BAD_HANDLE");
            }
            add("freed", format!("freed.{}", &own["pumice_".len()..]), "PUMICE_ERR_BAD_HANDLE");
            add("misaligned", misaligned, "PUMICE_ERR_BAD_HANDLE");
            add("zeros", format!("({ty})zeros"), "PUMICE_ERR_BAD_HANDLE");
        }
        Role::Out | Role::NewHandle => add("misaligned", misaligned, "PUMICE_ERR_INVALID"),
        Role::Buffer | Role::Array if !["void *", "char *", "const void *", "const char *"].contains(&ty.as_str()) => {
            add("misaligned", misaligned, "PUMICE_ERR_INVALID");
        }
        Role::Name => add("unclean", "unclean".to_owned(), "PUMICE_ERR_UTF8"),
        Role::Length => add("SIZE_MAX", "SIZE_MAX".to_owned(), "PUMICE_ERR_INVALID"),
        Role::Room => add("0", "0".to_owned(), "PUMICE_ERR_BUFFER_TOO_SMALL"),
        Role::Buffer | Role::Array | Role::Callback | Role::UserData | Role::Number => {}
    }
    match (role, ty.as_str()) {
        (Role::Array, "const char *") => add("unclean", "unclean".to_owned(), "PUMICE_ERR_UTF8"),
        (Role::Array, "const pumice_token *") => {
            for value in ["strangers[0]", "strangers[1]"] {
                add(value, value.to_owned(), "PUMICE_ERR_INVALID");
            }
        }
        (Role::Array, "const pumice_token *const *") => {
            add("NULL among them", "with_no_tokens".to_owned(), "PUMICE_ERR_NULL");
            add("misaligned ones among them", "with_misaligned".to_owned(), "PUMICE_ERR_INVALID");
            add("strangers among them", "with_strangers".to_owned(), "PUMICE_ERR_INVALID");
        }
        (Role::Array, "const size_t *") => {
            add("SIZE_MAX among them", "with_size_max".to_owned(), "PUMICE_ERR_INVALID");
        }
        (Role::Array, "const char *const *") => {
            add("NULL among them", "with_null".to_owned(), "PUMICE_ERR_NULL");
            add("unclean", "with_unclean".to_owned(), "PUMICE_ERR_UTF8");
        }
        (Role::Array, "const float *") => {
            let values: &[&str] = match name.as_str() {
                "bias" => &["odd_biases[0]", "odd_biases[1]", "odd_biases[2]"],
                "logits" => &["no_logits"],
                _ => panic!("{}: no bad values for {name}", function.name),
            };
            for value in values {
                add(value, (*value).to_owned(), "PUMICE_ERR_INVALID");
            }
        }
        (Role::Number, ty) => {
            let values = match interface.numbers.get(ty).map_or(ty, String::as_str) {
                "int32_t" => extremes(&["INT32_MIN", "-1", "INT32_MAX"]),
                "int64_t" => extremes(&["INT64_MIN", "-1", "INT64_MAX"]),
                "size_t" => extremes(&["SIZE_MAX"]),
                "uint64_t" => extremes(&["UINT64_MAX"]),
                "double" => extremes(&["(double)NAN", "(double)INFINITY", "(double)-INFINITY", "-1.0", "1e300"]),
                other => panic!("{}: no extremes of {other}", function.name),
            };
            for (what, value) in values {
                add(what, value, "PUMICE_ERR_INVALID");
            }
        }
        _ => {}
    }
    out
}

/// The program's cases.
#[derive(Default)]
struct Cases {
    functions: String,
    table: String,
    count: usize,
    used: BTreeSet<[&'static str; 4]>,
}

impl Cases {
    /// What is to be expected of a bad argument. `subject` is the function, or the option that it sets.
    fn expected(&mut self, subject: &str, parameter: &Parameter, what: &str, usual: &'static str) -> &'static str {
        for (table, status) in [(HARMLESS, Some("PUMICE_OK")), (OTHERWISE, None)] {
            if let Some(row) = rows(table, subject, parameter).find(|row| row[2] == what || row[2] == "*") {
                self.used.insert(*row);
                return status.unwrap_or(row[3]);
            }
        }
        usual
    }

    fn function(&mut self, interface: &Interface, function: &Function) {
        let good = good(interface, function);
        let roles: Vec<_> = (0..good.len()).map(|at| role(interface, function, at)).collect();
        let is_place = |role: &Role| matches!(role, Role::Out | Role::NewHandle | Role::Buffer);
        let places: Vec<_> = roles.iter().filter(|role| is_place(role)).collect();
        let made: u32 = places.iter().enumerate().map(|(i, role)| u32::from(**role == Role::NewHandle) << i).sum();
        let mut calls: Vec<(String, Vec<String>, &str, bool, u32)> =
            vec![("good".to_owned(), good.clone(), "PUMICE_OK", roles.contains(&Role::Error), made)];
        let mut call = |name: String, arguments: Vec<String>, status, at: usize| {
            let tells = roles.contains(&Role::Error) && roles[at] != Role::Error;
            let place = roles[..at].iter().filter(|role| is_place(role)).count();
            let made = if roles[at] == Role::NewHandle { made & !(1 << place) } else { made };
            calls.push((name, arguments, status, tells, made));
        };
        for (at, parameter) in function.parameters.iter().enumerate() {
            for (what, value, usual) in bad(interface, function, at, &good[at]) {
                let mut arguments = good.clone();
                arguments[at] = value;
                let status = self.expected(&function.name, parameter, &what, usual);
                call(format!("{} is {what}", parameter.name), arguments, status, at);
            }
        }
        // Setters: all options of the kind with bad values, and all others.
        if let Some(kind) = function.name.strip_prefix("pumice_options_set_")
            && let Some(at) = function.parameters.iter().position(|parameter| parameter.name == "value")
        {
            for key in &interface.keys {
                let mut arguments = good.clone();
                arguments[at - 1] = key.macro_name.clone();
                if key.kind != kind {
                    call(key.name.clone(), arguments, "PUMICE_ERR_WRONG_TYPE", at - 1);
                    continue;
                }
                for (what, value, usual) in bad(interface, function, at, &good[at]) {
                    let status = self.expected(&key.name, &function.parameters[at], &what, usual);
                    arguments[at] = value;
                    call(format!("{} is {what}", key.name), arguments.clone(), status, at);
                }
            }
        }
        self.write(function, places.len(), &calls);
    }

    fn write(&mut self, function: &Function, places: usize, calls: &[(String, Vec<String>, &str, bool, u32)]) {
        let wrapper = format!("call_{}", function.name);
        let out = &mut self.functions;
        writeln!(out, "static pumice_status {wrapper}(int number)\n{{\n    switch (number) {{").unwrap();
        for (number, (name, arguments, status, tells, made)) in calls.iter().enumerate() {
            let call = format!("{}({})", function.name, arguments.join(", "));
            // Functions without status: what they give if they refuse, and for those that never do, nothing.
            let (call, status) = match function.result.as_str() {
                "pumice_status" => (format!("return {call};"), *status),
                "void" => (format!("{call}; return PUMICE_OK;"), "PUMICE_OK"),
                "const char *" => (format!("return {call} != NULL ? PUMICE_OK : REFUSED;"), "PUMICE_OK"),
                _ if *status == "PUMICE_OK" => (format!("return {call} ? PUMICE_OK : REFUSED;"), "PUMICE_OK"),
                _ => (format!("return {call} ? PUMICE_OK : REFUSED;"), "REFUSED"),
            };
            writeln!(out, "    case {number}: {call}").unwrap();
            let name = format!("{}: {name}", function.name);
            let tells = u8::from(*tells);
            writeln!(self.table, "    {{{name:?}, {wrapper}, {number}, {status}, {tells}, {places}, {made}}},")
                .unwrap();
        }
        writeln!(out, "    default: abort();\n    }}\n}}\n").unwrap();
        self.count += calls.len();
    }
}

#[test]
fn no_function_minds_bad_arguments() {
    let interface = interface::read();
    let mut cases = Cases::default();
    for function in &interface.functions {
        cases.function(&interface, function);
    }
    for row in HARMLESS.iter().chain(OTHERWISE) {
        assert!(cases.used.contains(row), "no such argument: {row:?}");
    }
    assert!(cases.count > 20 * interface.functions.len(), "{}", cases.count);

    let dir = support::scratch("misuse");
    let table = format!("static const struct misuse misuses[] = {{\n{}}};\n", cases.table);
    std::fs::write(dir.join("cases.h"), cases.functions + &table).unwrap();
    support::write_head(&dir.join("head.gguf"));
    let source = dir.join("misuse.c");
    std::fs::copy(support::root().join("capi/tests/misuse/misuse.c"), &source).unwrap();
    let program = support::compile(&source, &dir);

    // Descriptor 3 is for complaints; the library must leave 1 and 2 alone.
    let complaints = dir.join("complaints");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 3>complaints"]).arg(program).arg(support::model()).arg(&dir);
    let output = shell.current_dir(&dir).stdin(Stdio::null()).output().unwrap();
    let complaints = std::fs::read_to_string(complaints).unwrap();
    assert!(output.status.success() && complaints.is_empty(), "{}\n{complaints}", output.status);
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(texts, ["", ""]);
}
