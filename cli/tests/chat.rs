//! `pumice chat`, with the embedded model and a template that strings messages together.

#[path = "support/pumice.rs"]
mod pumice;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;

use pumice::{Run, TempFile, command, out, run, run_with};

const TEMPLATE: &str = "{% for message in messages %}{{ message.content }} {% endfor %}";

/// The embedded model's file with a chat template as its first key.
fn model(name: &str) -> TempFile {
    let model = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/model/austen.gguf")).unwrap();
    let key = b"tokenizer.chat_template";
    let text = |bytes: &[u8]| [&(bytes.len() as u64).to_le_bytes(), bytes].concat();
    let string: u32 = 8;
    let before = text(key).len() + 4 + 8;
    // As long as it takes for the tensors to stay where their alignment wants them.
    let len = (before + TEMPLATE.len() + 4).next_multiple_of(64) - before;
    let template = format!("{TEMPLATE}{{#{:1$}#}}", "", len - TEMPLATE.len() - 4);
    let entry = [text(key), string.to_le_bytes().to_vec(), text(template.as_bytes())].concat();
    let count = u64::from_le_bytes(model[16..24].try_into().unwrap()) + 1;
    TempFile::new(name, &[&model[..16], &count.to_le_bytes(), &entry, &model[24..]].concat())
}

fn chat(model: &TempFile, args: &[&str], lines: &str) -> Run {
    run_with(&[&["chat", "-m", model.path(), "--temp", "0"], args].concat(), lines.as_bytes())
}

/// What greedy generation says after a text.
fn generated(model: &TempFile, text: &str, n: &str) -> String {
    out(&["generate", "-m", model.path(), "--temp", "0", "-n", n, "-p", text])
}

#[test]
fn each_answer_follows_from_the_whole_conversation() {
    let model = model("chat-whole.gguf");
    let told = "Elinor was silent.";
    let first = generated(&model, &format!("{told} She was "), "12");
    let second = generated(&model, &format!("{told} She was {first} He said "), "12");
    assert!(first != second && !first.is_empty() && !second.is_empty());
    let run = chat(&model, &["-n", "12", "--system", told], "She was\n\nHe said\n/exit\nnot read\n");
    assert_eq!((run.code, run.out), (Some(0), format!("{first}\n{second}\n")));
    assert_eq!(run.err, "[the answer is cut off]\n".repeat(2));
}

#[test]
fn commands_change_the_conversation() {
    let model = model("chat-commands.gguf");
    let file = TempFile::new("chat.json", b"");
    let alone = generated(&model, "He said ", "8");
    let told = generated(&model, "Be kind. He said ", "8");
    let cut = "[the answer is cut off]\n";

    let lines = format!("She was\n/save {0}\n/reset\nHe said\n/load {0}\n/system Be kind.\n/system\n", file.path());
    let run = chat(&model, &["-n", "8"], &format!("{lines}/reset\nHe said\n/nonsense\n/save\n"));
    let first = generated(&model, "She was ", "8");
    assert_eq!((run.code, run.out), (Some(0), format!("{first}\n{alone}\n{told}\n")));
    let notes = "[there is no /nonsense; /help lists the commands]\n[/save needs the name of a file]\n";
    assert_eq!(run.err, format!("{cut}[saved 2 messages]\n{cut}[loaded 2 messages]\n[Be kind.]\n{cut}{notes}"));

    // What was saved goes on as if it had never ended.
    let second = generated(&model, &format!("She was {first} He said "), "8");
    let run = chat(&model, &["-n", "8"], &format!("/load {}\nHe said\n", file.path()));
    assert_eq!(run.out, format!("{second}\n"));
}

#[test]
fn files_that_are_no_conversations_are_named() {
    let model = model("chat-files.gguf");
    for (text, what) in [("{", "is not JSON"), ("{\"messages\": [{\"role\": 1}]}", "is not a conversation")] {
        let file = TempFile::new("chat-bad.json", text.as_bytes());
        let run = chat(&model, &[], &format!("/load {}\n", file.path()));
        assert_eq!(run.code, Some(1));
        assert!(run.err.contains(&format!("chat-bad.json: {what}")), "{}", run.err);
    }
    let run = chat(&model, &["-n", "4"], "/save /nowhere/at/all.json\n");
    assert!(run.code == Some(1) && run.err.contains("/nowhere/at/all.json"), "{}", run.err);
}

#[test]
fn the_oldest_messages_go_when_the_context_is_full() {
    let model = model("chat-full.gguf");
    let run = chat(&model, &["-n", "16", "--ctx", "64"], &"She looked at him and said nothing.\n".repeat(6));
    assert_eq!((run.code, run.out.matches('\n').count() >= 6), (Some(0), true), "{run:?}");
    assert!(run.err.contains("[the context is full: the oldest 2 messages are forgotten]"), "{}", run.err);
    let long = "word ".repeat(100);
    let run = chat(&model, &["-n", "16", "--ctx", "64"], &format!("{long}\n"));
    assert!(run.code == Some(1) && run.err.contains("the context is full"), "{}", run.err);
}

#[test]
fn without_a_template_there_is_no_chat() {
    let run = run(&["chat"]);
    assert!(run.code == Some(1) && run.err.contains("no chat template"), "{}", run.err);
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_answer_and_not_the_program() {
    let model = model("chat-interrupt.gguf");
    // An answer that does not end soon by itself: the token that would end it is forbidden.
    let endless = ["--temp", "0", "--ctx", "20000", "--logit-bias", "0=-inf"];
    let mut child = command(&[&["chat", "-m", model.path()][..], &endless].concat()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut note = String::new();
    writeln!(stdin, "She was").unwrap();
    let mut byte = [0];
    stdout.read_exact(&mut byte).unwrap(); // the answer has begun
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    stderr.read_line(&mut note).unwrap();
    assert_eq!(note, "[stopped]\n");
    writeln!(stdin, "/reset\n/system It was late.\n/system").unwrap();
    note.clear();
    stderr.read_line(&mut note).unwrap();
    assert_eq!(note, "[It was late.]\n");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
