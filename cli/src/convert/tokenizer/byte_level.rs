//! Byte-level BPE, `tokenizer.ggml.model = "gpt2"`: from tokenizer.json, or from vocab.json and merges.txt.

use pumice::gguf::{Encoded, Header};
use serde_json::Value;

use super::special::Special;
use super::{Folder, Vocabulary, added, beyond, merges_json, merges_txt, pre};
use crate::convert::json::{Json, shown};
use crate::failure::Failure;

/// Reads the tokenizer of GPT-2, GPT-Neo or Llama 3.
pub fn byte_level(folder: &Folder, header: &mut Header) -> Result<(), Failure> {
    let mut vocabulary = Vocabulary::new(folder.n_vocab);
    let tokenizer = folder.json("tokenizer.json")?;
    let (pre, merges) = match &tokenizer {
        Some(tokenizer) => {
            check(tokenizer)?;
            let vocab = tokenizer.get("model.vocab").ok_or_else(|| tokenizer.missing("model.vocab"))?;
            vocabulary.put_all(tokenizer, "model.vocab", vocab)?;
            (pre::find(tokenizer)?, merges_json(tokenizer)?)
        }
        None => {
            let file = "vocab.json";
            let vocab =
                folder.json(file)?.ok_or_else(|| folder.none("tokenizer.json, or vocab.json and merges.txt"))?;
            for (text, id) in vocab.members() {
                let put = id.as_u64().is_some_and(|id| vocabulary.put(id as usize, text, super::Kind::Normal, 0.0));
                if !put {
                    return Err(vocab.bad(text, shown(id), format!("an id below the model's {}", folder.n_vocab)));
                }
            }
            (pre::GPT2, merges_txt(folder)?)
        }
    };
    for (id, token) in added(folder, tokenizer.as_ref())? {
        if !vocabulary.put_added(id, &token) {
            return Err(beyond(folder, id, &token));
        }
    }
    let special = Special::read(folder, tokenizer.as_ref(), &vocabulary)?;
    if tokenizer.is_none() {
        // The classes of vocab.json's time make the tokens with a role special without saying so in a file.
        for id in special.ids() {
            vocabulary.kinds[id] = super::Kind::Control;
        }
    }
    vocabulary.write("gpt2", Some(pre.name), false, header);
    if !merges.is_empty() {
        header.set("tokenizer.ggml.merges", Encoded::array(merges.iter().map(String::as_str)));
    }
    special.write(header);
    if pre.adds_bos && !header.has("tokenizer.ggml.add_bos_token") {
        // Readers would take the pre-tokenizer's name for a yes.
        header.set("tokenizer.ggml.add_bos_token", false);
    }
    Ok(())
}

/// Refuses what byte-level BPE has no place for.
fn check(tokenizer: &Json) -> Result<(), Failure> {
    if tokenizer.need_text("model.type")? != "BPE" {
        return Err(tokenizer.bad("model.type", shown(tokenizer.get("model.type").unwrap_or(&Value::Null)), "BPE"));
    }
    tokenizer.only("model.byte_fallback", false)?;
    for suffix in ["model.end_of_word_suffix", "model.continuing_subword_prefix"] {
        if let Some(found) = tokenizer.text(suffix)?.filter(|text| !text.is_empty()) {
            return Err(tokenizer.bad(suffix, format!("{found:?}"), "none in byte-level BPE"));
        }
    }
    // NFC leaves nearly all text as it is; llama.cpp leaves it out too.
    let harmless = |step: &Value| step.get("type").and_then(Value::as_str) == Some("NFC");
    match tokenizer.get("normalizer") {
        None => Ok(()),
        Some(step) if harmless(step) => Ok(()),
        Some(steps) => match steps.get("normalizers").and_then(Value::as_array) {
            Some(steps) if steps.iter().all(harmless) => Ok(()),
            _ => Err(tokenizer.bad("normalizer", shown(steps), "none or NFC")),
        },
    }
}
