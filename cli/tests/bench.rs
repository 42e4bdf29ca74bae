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
    let json = json(&["-t", "1", "-p", "32", "-n", "4", "-d", "16", "-r", "3"]);
    assert_eq!((&json["model"], &json["threads"], &json["depth"]), (&"embedded".into(), &1.into(), &16.into()));
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
    assert!(text.contains("scalar kernels, f16 cache, depth 0"), "{text}");
    assert!(text.contains("pp4") && text.contains("tg1"), "{text}");
}

#[test]
fn sequences_are_decoded_together_and_counted_together() {
    let json = json(&["-p", "0", "-n", "3", "-s", "5", "-d", "130", "-r", "2", "--kv-type", "f32"]);
    assert_eq!((&json["sequences"], &json["kv_type"]), (&5.into(), &"f32".into()));
    let [rate, gb] = ["median", "gb_s"].map(|key| json["tg3x5"][key].as_f64().unwrap());
    // The weights are read once for all five.
    let bytes = json["weight_bytes"].as_f64().unwrap();
    assert!((gb - rate / 5.0 * bytes / 1e9).abs() < 0.02, "{json}");
}

#[test]
fn peaks_are_measured_beside_and_speeds_are_shares_of_them() {
    let json = json(&["-p", "4", "-n", "2", "-r", "1", "--cold", "--peaks", "-t", "1"]);
    assert!(json["read_gb_s"].as_f64().unwrap() > 0.0 && json["pp4"]["gmac_s"].as_f64().unwrap() > 0.0, "{json}");
    let vectors = json["kernels"] != "scalar";
    assert_eq!(json.get("dot_gmac_s").is_some() && json.get("fma_gmac_s").is_some(), vectors, "{json}");
    let text = out(&["bench", "-p", "4", "-n", "2", "-r", "1", "--peaks", "-t", "1"]);
    assert!(text.contains("% of reading") && text.contains("the most here: reading memory"), "{text}");
    assert_eq!(text.contains("% of dot products"), vectors, "{text}");
}
