//! Where messages come from: a line editor on a terminal, or lines of stdin.

use std::io::{self, BufRead, IsTerminal};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::failure::Failure;

pub enum Input {
    /// With history, and the usual keys.
    Terminal(Box<DefaultEditor>),
    Lines,
}

pub enum Line {
    Text(String),
    End,
}

impl Input {
    /// A terminal if stdin and stdout are one.
    pub fn open() -> Result<Self, Failure> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Lines);
        }
        Ok(Self::Terminal(Box::new(DefaultEditor::new().map_err(|error| unreadable(&error))?)))
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// The next line, without its end.
    pub fn next(&mut self) -> Result<Line, Failure> {
        let Self::Terminal(editor) = self else {
            let mut line = String::new();
            if io::stdin().lock().read_line(&mut line).map_err(|error| unreadable(&error))? == 0 {
                return Ok(Line::End);
            }
            line.truncate(line.trim_end_matches(['\r', '\n']).len());
            return Ok(Line::Text(line));
        };
        match editor.readline("> ") {
            Ok(line) => {
                let _not_kept = editor.add_history_entry(&line); // the history is a convenience
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(Line::End),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::Input(format!("cannot read the next message: {error}"))
}
