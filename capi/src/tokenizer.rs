//! The model's tokenizer.

use std::ffi::c_char;

use pumice::token::{EncodeOptions, TokenKind};
use pumice::{Token, Tokenizer};

use crate::abi::*;
use crate::call::{Fail, fail, flags, guard};
use crate::model::Shared;

/// Cuts text, `len` bytes of UTF-8, into tokens. `flags`: PUMICE_TOKENIZE_* added together, or 0. Stores their number in
/// `count`, and the tokens in `out` if it has room for them (`cap` tokens); NULL and 0 just ask for the number.
/// PUMICE_ERR_BUFFER_TOO_SMALL, PUMICE_ERR_UTF8, PUMICE_ERR_NOT_FOUND if the file has no vocabulary.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_tokenize(
    model: *const pumice_model,
    text: *const c_char,
    len: usize,
    flags: i32,
    out: *mut pumice_token,
    cap: usize,
    count: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, text) = (call.shared::<Shared>(model)?, call.text("text", text, len)?);
        let flags = self::flags(flags, PUMICE_TOKENIZE_ADD_SPECIAL | PUMICE_TOKENIZE_PARSE_SPECIAL)?;
        call.out("count", count)?;
        let options = EncodeOptions {
            add_special: flags & PUMICE_TOKENIZE_ADD_SPECIAL != 0,
            parse_special: flags & PUMICE_TOKENIZE_PARSE_SPECIAL != 0,
        };
        let tokens = model.tokenizer()?.encode(text, options)?;
        let tokens: Vec<pumice_token> = tokens.into_iter().map(Token::cast_signed).collect();
        call.fill(&tokens, "out", out, cap, count)
    })
}

/// The text of `count` tokens: bytes, which end inside a character if the tokens do. `flags`: PUMICE_DETOKENIZE_SPECIAL
/// or 0. Stores the size in bytes in `len`, and the text in `buf` if it has room for it (`cap` bytes), with a NUL
/// behind it if that fits too; NULL and 0 just ask for the size. PUMICE_ERR_BUFFER_TOO_SMALL, PUMICE_ERR_INVALID for a
/// token that the vocabulary does not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_detokenize(
    model: *const pumice_model,
    tokens: *const pumice_token,
    count: usize,
    flags: i32,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, tokens) = (call.shared::<Shared>(model)?, call.tokens("tokens", tokens, count)?);
        let flags = self::flags(flags, PUMICE_DETOKENIZE_SPECIAL)?;
        let text = model.tokenizer()?.decode(tokens, flags & PUMICE_DETOKENIZE_SPECIAL != 0)?;
        call.fill_text(&text, buf, cap, len)
    })
}

/// A token's name in the vocabulary, as the file has it: not quite its text (in many files a letter stands for the
/// space; see pumice_model_detokenize). Stores a pointer to `len` bytes, not NUL-terminated, borrowed from the model:
/// valid until it is freed. PUMICE_ERR_INVALID for a token that the vocabulary does not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_token_text(
    model: *const pumice_model,
    token: pumice_token,
    text: *mut *const c_char,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let model = call.shared::<Shared>(model)?;
        let (out, len) = (call.out("text", text)?, call.out("len", len)?);
        let tokenizer = model.tokenizer()?;
        let name = tokenizer.token_name(existing(tokenizer, token)?)?;
        out.set(name.as_ptr().cast());
        len.set(name.len());
        Ok(())
    })
}

/// What a token is: stores PUMICE_TOKEN_* flags added together. PUMICE_ERR_INVALID for a token that the vocabulary does
/// not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_token_flags(
    model: *const pumice_model,
    token: pumice_token,
    flags: *mut i32,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, out) = (call.shared::<Shared>(model)?, call.out("flags", flags)?);
        let tokenizer = model.tokenizer()?;
        let token = existing(tokenizer, token)?;
        let kind = match tokenizer.kind(token) {
            Some(TokenKind::Normal) => PUMICE_TOKEN_NORMAL,
            Some(TokenKind::Unknown) => PUMICE_TOKEN_UNKNOWN,
            Some(TokenKind::Control) => PUMICE_TOKEN_CONTROL,
            Some(TokenKind::UserDefined) => PUMICE_TOKEN_USER_DEFINED,
            Some(TokenKind::Byte) => PUMICE_TOKEN_BYTE,
            _ => PUMICE_TOKEN_UNUSED,
        };
        out.set(if tokenizer.is_eog(token) { kind | PUMICE_TOKEN_END } else { kind });
        Ok(())
    })
}

/// The token with a role: "bos", "eos", "unk", "sep", "pad", "mask", "eot" (end of turn), "eom" (end of message),
/// "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep" (filling in the middle). Stores -1 if the model has
/// none. PUMICE_ERR_NOT_FOUND for other names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_special_token(
    model: *const pumice_model,
    name: *const c_char,
    out: *mut pumice_token,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, name, out) = (call.shared::<Shared>(model)?, call.name("name", name)?, call.out("out", out)?);
        let tokenizer = model.tokenizer()?;
        if !Tokenizer::roles().any(|role| role == name) {
            return Err(fail(PUMICE_ERR_NOT_FOUND, format!("there is no role `{name}` for tokens")));
        }
        out.set(tokenizer.special(name).map_or(-1, Token::cast_signed));
        Ok(())
    })
}

/// The token, if the vocabulary has it.
fn existing(tokenizer: &Tokenizer, token: pumice_token) -> Result<Token, Fail> {
    let found = Token::try_from(token).ok().filter(|token| (*token as usize) < tokenizer.n_vocab());
    found.ok_or_else(|| {
        let text = format!("token {token} is outside the vocabulary of {} tokens", tokenizer.n_vocab());
        fail(PUMICE_ERR_INVALID, text)
    })
}
