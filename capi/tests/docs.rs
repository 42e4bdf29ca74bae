//! The tables of docs/abi.md are made from the header.
//!
//! `PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header` writes them, together with the header.

mod support;

use support::interface::{self, Interface};

/// Status codes, the highest first.
fn statuses(interface: &Interface) -> String {
    let mut out = "| Status | Value | Meaning |\n|---|---|---|\n".to_owned();
    for (name, value) in &interface.constants {
        if name == "PUMICE_OK" || name.starts_with("PUMICE_ERR_") {
            out += &format!("| `{name}` | {value} | {} |\n", interface.comments[name]);
        }
    }
    out
}

fn options(interface: &Interface) -> String {
    let mut out = "| Option | Type | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    for key in &interface.keys {
        let comment = &interface.comments[&key.macro_name];
        let meaning = comment[..comment.rfind('(').unwrap()].trim_end();
        out += &format!("| `{}` | {} | {} | {meaning} |\n", key.name, key.kind, key.default);
    }
    out
}

#[test]
fn the_tables_of_the_documentation_are_the_headers() {
    let interface = interface::read();
    let path = support::root().join("docs/abi.md");
    let found = std::fs::read_to_string(&path).unwrap();
    let mut expected = found.clone();
    for (name, table) in [("statuses", statuses(&interface)), ("options", options(&interface))] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
        let (before, rest) = expected.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        expected = format!("{before}{begin}{table}{end}{after}");
    }
    if std::env::var_os("PUMICE_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    let missing: Vec<_> = expected.lines().filter(|line| !found.lines().any(|other| other == *line)).collect();
    assert!(
        found == expected,
        "docs/abi.md lacks {missing:#?}; run PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header"
    );
}
