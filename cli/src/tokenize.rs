//! `pumice tokenize`: the tokens of a text.

use std::io::{self, Write};

use pumice::Tokenizer;
use pumice::token::EncodeOptions;
use serde_json::json;

use crate::failure::Failure;
use crate::show;
use crate::source;

/// Show the tokens of a text
///
/// They are those that `generate` feeds to the model: with the beginning-of-text token, if the model wants one, and
/// with control tokens read from the text. Each line has a token's id and its text.
#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file, which need not hold more than a vocabulary; without it, the small model inside this program
    #[arg(short, long, value_name = "FILE")]
    model: Option<std::path::PathBuf>,
    /// Print the ids alone, as a JSON list
    #[arg(long)]
    json: bool,
    /// Do not add beginning-of-text and end-of-text tokens
    #[arg(long)]
    no_add_special: bool,
    /// Take control tokens that are spelled out in the text for text
    #[arg(long)]
    no_parse_special: bool,
    /// The text; "-", or nothing if it is not a terminal, to read stdin (but for a line break at its end)
    #[arg(allow_hyphen_values = true)]
    text: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let text = source::text(args.text.as_deref())?;
    let text = text.ok_or_else(|| Failure::Usage("there is no text; give it as an argument or on stdin".to_owned()))?;
    let tokenizer = Tokenizer::from_gguf(&source::open_gguf(args.model.as_deref())?)?;
    let options = EncodeOptions { add_special: !args.no_add_special, parse_special: !args.no_parse_special };
    let tokens = tokenizer.encode(&text, options)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        writeln!(out, "{}", json!(tokens))?;
    } else {
        for token in tokens {
            // A token may be a part of a character.
            let piece = tokenizer.piece(token, true)?;
            let text: String = piece.utf8_chunks().map(|chunk| chunk_text(chunk.valid(), chunk.invalid())).collect();
            writeln!(out, "{token:>7}  \"{text}\"")?;
        }
    }
    Ok(out.flush()?)
}

/// Text and the bytes behind it that are none, without control characters.
fn chunk_text(valid: &str, invalid: &[u8]) -> String {
    let mut out = show::visible(valid).into_owned();
    out.extend(invalid.iter().map(|byte| format!("\\x{byte:02x}")));
    out
}
