//! `pumice head train`, and `pumice classify` with heads, on the embedded model.

#[path = "support/pumice.rs"]
mod program;

use std::fs;

use program::{Run, TempFile, out, run};
use pumice::{Bytes, Gguf};
use serde_json::Value;

/// Sentences about women and men, and some about places. If they are mistaken, about a fourth is taken for another class.
fn data(name: &str, mistaken: bool) -> TempFile {
    let who =
        [("She", "woman"), ("Her sister", "woman"), ("He", "man"), ("His brother", "man"), ("The house", "place")];
    let what =
        ["was very fine", "had been seen at noon", "could not be forgotten", "was much talked of", "seemed at ease"];
    let when = ["", " in the summer", " that evening", " for a year"];
    let mut lines = Vec::new();
    for (who, class) in who {
        for what in what {
            lines.extend(when.iter().map(|when| format!("{who} {what}{when}.\t{class}\n")));
        }
    }
    for (_, line) in lines.iter_mut().enumerate().filter(|(i, _)| mistaken && i * 29 % 101 % 13 < 3) {
        *line = line.replace("\tman", "\tplace").replace("\twoman", "\tman");
    }
    TempFile::new(name, lines.concat().as_bytes())
}

fn train(data: &TempFile, head: &TempFile, more: &[&str]) -> Run {
    run(&[&["head", "train", "--data", data.path(), "--out", head.path()], more].concat())
}

#[test]
fn a_head_is_trained_and_used() {
    let (data, head) = (data("train.tsv", false), TempFile::new("trained.gguf", b"what was there before"));
    let trained = train(&data, &head, &["--threads", "1"]);
    assert_eq!((trained.code, &*trained.err), (Some(0), ""));
    let lines: Vec<&str> = trained.out.lines().collect();
    assert_eq!(lines[0], "100 texts: man 40, place 20, woman 40");
    let right: usize = lines[1].split(' ').next().unwrap().parse().unwrap();
    assert!(
        lines[1].contains("of 20 set aside are put right") && lines[1].ends_with("always man: 40.0 %"),
        "{lines:?}"
    );
    assert!((16..=20).contains(&right), "{lines:?}");
    assert!(lines[2].starts_with(head.path()) && lines[2].contains("fitted on all 100 texts with --l2 "), "{lines:?}");

    let gguf = Gguf::parse("head", Bytes::from_vec(fs::read(&head.0).unwrap())).unwrap();
    let text = |key| gguf.get_str(key).unwrap().unwrap();
    assert_eq!(
        (text("general.type"), text("adapter.type"), text("general.architecture")),
        ("adapter", "head", "llama")
    );
    let pooling = ["llama.pooling_type", "llama.classifier.pooling_type"].map(|key| gguf.get_u64(key).unwrap());
    assert_eq!(pooling, [Some(4), Some(3)]);
    assert_eq!(gguf.tensors().len(), 2);

    let classified = run(&["classify", "--head", head.path(), "-f", data.path()]);
    let rows: Vec<Vec<&str>> = classified.out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["label", "man", "place", "woman", "score man", "score place", "score woman"]);
    let labels = ["man", "place", "woman"];
    for row in &rows[1..] {
        let n: Vec<f64> = row[1..].iter().map(|n| n.parse().unwrap()).collect();
        let sum: f64 = n[3..].iter().map(|score| score.exp()).sum();
        for i in 0..3 {
            assert!((n[3 + i].exp() / sum - n[i]).abs() < 2e-4, "{row:?}");
            assert!(row[0] == labels[i] || n[i] <= 0.5, "{row:?}");
        }
    }
    let right: usize = classified.err.split(' ').next().unwrap().parse().unwrap();
    assert!(right >= 97 && classified.err.contains(" of 100 right, "), "{}", classified.err);

    let json = run(&["classify", "--json", "--head", head.path(), "-f", data.path()]);
    let first: Value = serde_json::from_str(json.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["text"], &first["label"]), (&"She was very fine.".into(), &rows[1][0].into()));
    let probability = first["probabilities"]["woman"].as_f64().unwrap();
    assert!((probability - rows[1][3].parse::<f64>().unwrap()).abs() < 1e-4);
    assert!(first["scores"]["place"].is_f64());
}

#[test]
fn the_same_data_give_the_same_file() {
    let (data, head) = (data("same.tsv", true), TempFile::new("same.gguf", b""));
    let trained = |more: &[&str]| {
        let run = train(&data, &head, more);
        assert_eq!(run.code, Some(0), "{}", run.err);
        (run.out, fs::read(&head.0).unwrap())
    };
    let first = trained(&["--threads", "1"]);
    assert!(trained(&["--threads", "2", "--kernels", "scalar"]) == first);
    assert!(trained(&["--seed", "1", "--validation", "0.2", "--pooling", "last"]) == first);
    assert_ne!(trained(&["--seed", "2"]).0, first.0);
    assert_ne!(trained(&["--pooling", "mean"]).1, first.1);
    let weak = trained(&["--l2", "0.001"]);
    assert!(weak.1 != first.1 && weak.0.ends_with("--l2 0.001\n"), "{}", weak.0);
    let (said, file) = trained(&["--l2", "0.001", "--validation", "0"]);
    assert!(file == weak.1 && !said.contains("set aside"), "the data without validation are all the data: {said}");
}

#[test]
fn what_cannot_be_trained_or_used_is_named() {
    let head = TempFile::new("untouched.gguf", b"untouched");
    for (bytes, what) in [
        (&b"a text\tgood\nno tab here\n"[..], "a text, a tab and its class, but there is \"no tab here\""),
        (b"a text\tgood\n\tbad\n", "but there is \"\\tbad\""),
        (b"a text\tgood\nanother\tgood\n", "two classes are needed at least, there are 1"),
        (b"", "there are 0"),
    ] {
        let data = TempFile::new("bad.tsv", bytes);
        let run = train(&data, &head, &[]);
        assert!(run.code == Some(1) && run.err.contains(what) && run.out.is_empty(), "{run:?}");
    }
    let long = TempFile::new("long.tsv", format!("a\tb\n{}\tc\n", "so long ".repeat(5000)).as_bytes());
    let run = train(&long, &head, &[]);
    assert!(run.code == Some(1) && run.err.contains("the text \"so long so long"), "{run:?}");
    assert!(run.err.contains("the context is full"), "{run:?}");
    assert_eq!(fs::read(&head.0).unwrap(), b"untouched");

    let failed = |args: &[&str]| {
        let run = program::run(&[&["classify", "-f", "/dev/null"], args].concat());
        assert_eq!((run.out.as_str(), run.err.lines().count()), ("", 1), "{run:?}");
        (run.code, run.err)
    };
    assert!(failed(&["--head", head.path()]).1.contains("untouched.gguf: "));
    assert!(failed(&[]).1.contains("no classification head: give one with --head, or --labels"));
    assert_eq!(failed(&[]).0, Some(2));
    for args in [
        &["--head", head.path(), "--labels", "a,b"][..],
        &["--head", head.path(), "--pattern", "{text}{label}"],
        &["--head", head.path(), "--examples", "/dev/null"],
    ] {
        assert_eq!(failed(args).0, Some(2), "{args:?}");
    }
    for (option, value) in [("--pooling", "cls"), ("--validation", "1"), ("--validation", "nan"), ("--l2", "0")] {
        let data = TempFile::new("never-read.tsv", b"");
        assert_eq!(train(&data, &head, &[option, value]).code, Some(2), "{option} {value}");
    }
}

#[test]
fn a_head_is_for_its_own_kind_of_model() {
    let (data, head) = (data("other.tsv", false), TempFile::new("other.gguf", b""));
    assert_eq!(train(&data, &head, &["--validation", "0"]).code, Some(0));
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/");
    let model = TempFile::new("other-model.gguf", b"");
    for (name, what) in [("gpt2", "architecture is llama, this one's is gpt2"), ("llama3", "this one's is 64")] {
        out(&["convert", &format!("{fixture}{name}"), model.path()]);
        let run = run(&["classify", "-m", model.path(), "--head", head.path(), "-f", data.path()]);
        assert!(run.code == Some(1) && run.err.contains(what) && run.out.is_empty(), "{run:?}");
    }
}
