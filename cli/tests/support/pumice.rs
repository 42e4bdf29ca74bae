//! Runs the built program.
#![allow(dead_code)] // each test crate uses its own part

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run left.
#[derive(Debug, PartialEq)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The program, with all three streams piped.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pumice"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it with some bytes on stdin.
pub fn run_with(args: &[&str], stdin: &[u8]) -> Run {
    let mut child = command(args).spawn().unwrap();
    // It may end without reading: then the pipe is broken, which is nothing to complain about.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let done = child.wait_with_output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Run { code: done.status.code(), out, err }
}

/// Runs it with an empty stdin.
pub fn run(args: &[&str]) -> Run {
    run_with(args, b"")
}

/// The stdout of a run that goes well, with nothing on stderr.
pub fn out(args: &[&str]) -> String {
    let run = run(args);
    assert_eq!((run.code, &*run.err), (Some(0), ""), "{args:?}");
    run.out
}

/// A file that is deleted at the end.
pub struct TempFile(pub PathBuf);

impl TempFile {
    /// `name` must be the test's own.
    pub fn new(name: &str, bytes: &[u8]) -> TempFile {
        let path = std::env::temp_dir().join(format!("pumice-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        TempFile(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
