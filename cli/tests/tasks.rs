//! `pumice score` and `pumice classify`, with the embedded model.

#[path = "support/pumice.rs"]
mod pumice;

use pumice::{TempFile, out, run, run_with};

#[test]
fn scores_add_up_and_rank() {
    let ways = ["-c", " the", "-c", " zebra", "-c", " the house", "-c", ""];
    let text = out(&[&["score", "-p", "She walked to"], &ways[..]].concat());
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let logprob = |i: usize| rows[i][0].parse::<f64>().unwrap();
    assert_eq!(rows.iter().map(|row| row[2]).collect::<Vec<_>>(), [" the", " zebra", " the house", ""]);
    assert!(logprob(0) > logprob(1) && logprob(0) > logprob(2) && logprob(3) == 0.0, "{text}");
    // A text's probability is that of its beginning times that of the rest.
    let rest = out(&["score", "-p", "She walked to the", "-c", " house"]);
    let sum = logprob(0) + rest.split('\t').next().unwrap().parse::<f64>().unwrap();
    assert!((sum - logprob(2)).abs() < 1e-5, "{sum} {text}");

    let json = out(&["score", "--json", "-p", "She walked to", "-c", " the"]);
    assert!(json.starts_with("[{\"continuation\":\" the\",\"logprob\":-") && json.contains("\"tokens\":1"), "{json}");
    let missing = run(&["score", "-p", "x"]);
    assert_eq!(missing.code, Some(2));
}

#[test]
fn texts_are_classified_and_answers_counted() {
    let examples = TempFile::new("examples.tsv", b"a fine day\tgood\na dreadful day\tbad\n");
    let args = ["classify", "--labels", "good,bad", "--examples", examples.path()];
    let run = run_with(&args, b"a delightful evening\tgood\n\na wretched evening\tbad\nan evening\n");
    assert_eq!(run.code, Some(0));
    let rows: Vec<Vec<&str>> = run.out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["label", "good", "bad", "raw good", "raw bad"]);
    assert_eq!(rows.len(), 4);
    let mut right = 0;
    for (row, answer) in rows[1..].iter().zip(["good", "bad", ""]) {
        let numbers: Vec<f64> = row[1..].iter().map(|p| p.parse().unwrap()).collect();
        assert!(
            (numbers[0] + numbers[1] - 1.0).abs() < 1e-3 && (numbers[2] + numbers[3] - 1.0).abs() < 1e-3,
            "{row:?}"
        );
        assert_eq!(row[0], if numbers[0] >= numbers[1] { "good" } else { "bad" });
        right += usize::from(row[0] == answer);
    }
    assert_eq!(run.err, format!("{right} of 2 right, {:.1} %\n", 50.0 * right as f64));

    // The same numbers as the continuations' own.
    let prompt = "Text: a fine day\nLabel: good\n\nText: a dreadful day\nLabel: bad\n\nText: an evening\nLabel:";
    let scores = out(&["score", "-p", prompt, "-c", " good", "-c", " bad"]);
    let p: Vec<f64> =
        scores.lines().map(|line| line.split('\t').next().unwrap().parse::<f64>().unwrap().exp()).collect();
    let raw: f64 = rows[3][3].parse().unwrap();
    assert!((p[0] / (p[0] + p[1]) - raw).abs() < 1e-3, "{scores} {rows:?}");
}

#[test]
fn patterns_and_files_that_make_no_sense() {
    for (args, what) in [
        (
            &["classify", "--labels", "a,b", "--pattern", "{label} {text}"][..],
            "{text} comes first and {label} at the end",
        ),
        (&["classify", "--labels", "a,,b"], "a label is empty"),
        (&["classify", "--labels", "a,b", "--examples", "/nowhere.tsv"], "/nowhere.tsv: cannot read"),
        (&["classify", "--labels", "a,b", "-f", "/nowhere.txt"], "/nowhere.txt: cannot read"),
    ] {
        let run = run(args);
        assert!(run.code != Some(0) && run.err.contains(what) && run.out.is_empty(), "{run:?}");
    }
    let examples = TempFile::new("no-tab.tsv", b"no tab here\n");
    let run = run(&["classify", "--labels", "a,b", "--examples", examples.path()]);
    assert!(run.code == Some(1) && run.err.contains("has no tab"), "{}", run.err);
}
