//! `pumice bench`: what it prints, not how fast it is.

#[path = "support/pumice.rs"]
mod pumice;

use pumice::out;
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&out(&[&["bench", "--json"], args].concat())).unwrap()
}

#[test]
fn json_has_the_rates_of_both_kinds() {
    let json = json(&["-t", "2", "-p", "32", "-n", "4", "-d", "16", "-r", "3"]);
    assert_eq!((&json["model"], &json["threads"], &json["depth"]), (&"embedded".into(), &2.into(), &16.into()));
    for kind in ["pp32", "tg4"] {
        let [best, median, worst] = ["best", "median", "worst"].map(|key| json[kind][key].as_f64().unwrap());
        assert!(best >= median && median >= worst && worst > 0.0, "{json}");
    }
}

#[test]
fn what_is_0_is_not_measured() {
    let kinds = |args: &[&str]| {
        let names = json(&[args, &["-r", "1"]].concat()).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        names.into_iter().filter(|name| name.starts_with("pp") || name.starts_with("tg")).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&["-p", "0", "-n", "3"]), ["tg3"]);
    assert_eq!(kinds(&["-p", "5", "-n", "0"]), ["pp5"]);
    assert_eq!(kinds(&["-p", "0", "-n", "0"]), [""; 0]);
}

#[test]
fn kernels_can_be_chosen() {
    assert_eq!(json(&["-p", "4", "-n", "1", "-r", "1", "--kernels", "scalar"])["kernels"], "scalar");
    let text = out(&["bench", "-p", "4", "-n", "1", "-r", "1", "--kernels", "scalar"]);
    assert!(text.contains("scalar kernels, depth 0") && text.contains("pp4") && text.contains("tg1"), "{text}");
}
