//! Generated text on its way to stdout.

use std::io::{self, IsTerminal, Write};

use crate::show;

/// Stdout, each piece of text flushed.
pub struct Output {
    stdout: io::StdoutLock<'static>,
    terminal: bool,
    /// Whether the last character was a line break.
    line_is_empty: bool,
}

impl Output {
    pub fn new() -> Self {
        let stdout = io::stdout().lock();
        Self { terminal: stdout.is_terminal(), stdout, line_is_empty: true }
    }

    /// Writes the text; on a terminal, its control characters are written out.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        match self.terminal {
            true => self.stdout.write_all(show::visible_text(text).as_bytes())?,
            false => self.stdout.write_all(text.as_bytes())?,
        }
        self.line_is_empty = text.is_empty() && self.line_is_empty || text.ends_with('\n');
        self.stdout.flush()
    }

    /// Ends the last line on terminals, and where the text is to be whole.
    pub fn end(&mut self, whole: bool) -> io::Result<()> {
        if (self.terminal || whole) && !self.line_is_empty { self.text("\n") } else { Ok(()) }
    }
}
