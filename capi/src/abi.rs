//! The types and constants of the header.

use std::ffi::{c_char, c_void};

use pumice::ErrorKind;

/// What fallible functions return: PUMICE_OK or one of PUMICE_ERR_*. Failures are negative, no status is positive.
/// Later versions may add codes; treat an unknown negative value as a failure.
pub type pumice_status = i32;
/// The number of a token, from 0 to "n_vocab" - 1 (see pumice_model_get_int).
pub type pumice_token = i32;
/// The number of a sequence in a session, from 0; chosen by the caller.
pub type pumice_seq = i32;

// Nothing is ever known of these but their names: handles point to `handle::Head`.

/// The text behind a status. One thread at a time.
pub struct pumice_error {
    _opaque: (),
}
/// Settings for all other calls. One thread at a time; several may read it at once.
pub struct pumice_options {
    _opaque: (),
}
/// A model: weights and vocabulary. Immutable: any number of threads may use it at once.
pub struct pumice_model {
    _opaque: (),
}
/// Sequences being fed to a model, and the threads that do it. One thread at a time.
pub struct pumice_session {
    _opaque: (),
}
/// Runs of tokens of several sequences, to be decoded together. One thread at a time.
pub struct pumice_batch {
    _opaque: (),
}
/// Chooses tokens from logits. One thread at a time.
pub struct pumice_sampler {
    _opaque: (),
}

/// Progress of a call that takes long: `done` of `total`. Called on the thread that made the call. Return
/// PUMICE_CONTINUE to go on; with any other value the call stops and returns PUMICE_ERR_CANCELLED.
pub type pumice_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, done: u64, total: u64) -> i32>;

/// Reads `len` bytes (1 or more) of a file from `offset` on into `dst`. Called on the thread that made the call. Return
/// PUMICE_CONTINUE once all are there; with any other value the call stops and returns PUMICE_ERR_CANCELLED.
pub type pumice_read_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, offset: u64, dst: *mut c_void, len: usize) -> i32>;

/// A message: one line, `len` bytes of UTF-8, not NUL-terminated, valid during the call only. `level` is one of
/// PUMICE_LOG_*. Called on the thread that made a call, while that call uses its handles.
pub type pumice_log_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char, len: usize)>;

/// New text: `len` bytes of UTF-8, whole characters, not NUL-terminated; and the `count` tokens that were generated
/// since the previous call. Either may be empty (then do not read through the pointer): text that a stop text might
/// begin is held back, and tokens that end the text have none. Both are valid during the call only. Called on the
/// thread that made the call. Return PUMICE_CONTINUE to go on; with any other value the generation stops and returns
/// PUMICE_ERR_CANCELLED.
pub type pumice_text_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        text: *const c_char,
        len: usize,
        tokens: *const pumice_token,
        count: usize,
    ) -> i32,
>;

/// The library is done with what it was lent: memory, or the user data of a log. May be called on any thread that uses or frees handles.
pub type pumice_drop_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Success.
pub const PUMICE_OK: i32 = 0;
/// A defect of the library, caught before it could do harm. The handles that the call was to change are poisoned.
pub const PUMICE_ERR_INTERNAL: i32 = -1;
/// A pointer that must not be NULL is.
pub const PUMICE_ERR_NULL: i32 = -2;
/// An argument or an option is outside its range.
pub const PUMICE_ERR_INVALID: i32 = -3;
/// A handle is of another type, was freed, or is none.
pub const PUMICE_ERR_BAD_HANDLE: i32 = -4;
/// Another call, on another thread or around this callback, is using a handle.
pub const PUMICE_ERR_BUSY: i32 = -5;
/// An internal error left the handle unusable, or it is a session from before a fork. It can only be freed.
pub const PUMICE_ERR_POISONED: i32 = -6;
/// Memory could not be had.
pub const PUMICE_ERR_NO_MEMORY: i32 = -7;
/// The operating system refused to open, map, read or write a file.
pub const PUMICE_ERR_IO: i32 = -8;
/// A file is broken or incomplete.
pub const PUMICE_ERR_FORMAT: i32 = -9;
/// A file is sound, but this version or this computer cannot use it.
pub const PUMICE_ERR_UNSUPPORTED: i32 = -10;
/// Two things that do not belong together, such as the session of one model and the sampler or the saved state of another.
pub const PUMICE_ERR_MISMATCH: i32 = -11;
/// The caller's buffer is too small; the size it needs has been stored, and the buffer is untouched.
pub const PUMICE_ERR_BUFFER_TOO_SMALL: i32 = -12;
/// The sequence would outgrow the session's context.
pub const PUMICE_ERR_CONTEXT_FULL: i32 = -13;
/// A callback or pumice_session_cancel stopped the call.
pub const PUMICE_ERR_CANCELLED: i32 = -14;
/// There is no option of this name.
pub const PUMICE_ERR_UNKNOWN_KEY: i32 = -15;
/// An option, or a metadata value, is of another type.
pub const PUMICE_ERR_WRONG_TYPE: i32 = -16;
/// Text is not UTF-8.
pub const PUMICE_ERR_UTF8: i32 = -17;
/// A chat template or JSON cannot be parsed.
pub const PUMICE_ERR_SYNTAX: i32 = -18;
/// What was asked for by name or key does not exist.
pub const PUMICE_ERR_NOT_FOUND: i32 = -19;

/// What callbacks return to go on.
pub const PUMICE_CONTINUE: i32 = 1;

/// In place of a sequence, for pumice_session_state_*: all sequences.
pub const PUMICE_SEQ_ALL: i32 = -1;

/// pumice_options_set_log: no messages.
pub const PUMICE_LOG_OFF: i32 = 0;
/// Something failed that cannot be told in another way.
pub const PUMICE_LOG_ERROR: i32 = 1;
/// Something is odd and may not be what was meant.
pub const PUMICE_LOG_WARN: i32 = 2;
/// What was opened and made, with its numbers.
pub const PUMICE_LOG_INFO: i32 = 3;
/// Each step.
pub const PUMICE_LOG_DEBUG: i32 = 4;

/// Flag of pumice_model_tokenize: add the tokens that begin and end a text, as far as the model wants them.
pub const PUMICE_TOKENIZE_ADD_SPECIAL: i32 = 1;
/// Flag of pumice_model_tokenize: read control tokens that are spelled out in the text. Leave it off for text from
/// people who should not be able to forge them.
pub const PUMICE_TOKENIZE_PARSE_SPECIAL: i32 = 2;
/// Flag of pumice_model_detokenize: show control tokens as the text they are named by.
pub const PUMICE_DETOKENIZE_SPECIAL: i32 = 1;

/// Flag of pumice_model_chat_format: end the text where the assistant's answer begins.
pub const PUMICE_CHAT_GENERATION_PROMPT: i32 = 1;

/// The token is text. (These flags come from pumice_model_token_flags; exactly one of the first six is set.)
pub const PUMICE_TOKEN_NORMAL: i32 = 1;
/// The token stands for text that the vocabulary cannot say.
pub const PUMICE_TOKEN_UNKNOWN: i32 = 2;
/// The token is a mark that is not text.
pub const PUMICE_TOKEN_CONTROL: i32 = 4;
/// The token is text that is always this one token.
pub const PUMICE_TOKEN_USER_DEFINED: i32 = 8;
/// The token is a free place.
pub const PUMICE_TOKEN_UNUSED: i32 = 16;
/// The token is one byte.
pub const PUMICE_TOKEN_BYTE: i32 = 32;
/// The token ends a generation.
pub const PUMICE_TOKEN_END: i32 = 64;

/// pumice_batch_add: no outputs; the run only extends its sequence.
pub const PUMICE_OUTPUTS_NONE: i32 = 0;
/// pumice_batch_add: an output for the last token.
pub const PUMICE_OUTPUTS_LAST: i32 = 1;
/// pumice_batch_add: an output for every token.
pub const PUMICE_OUTPUTS_ALL: i32 = 2;

/// The generation ended because the model ended its text.
pub const PUMICE_FINISH_END: i32 = 0;
/// The generation ended because of generate.max_tokens, or because the context is full.
pub const PUMICE_FINISH_LENGTH: i32 = 1;
/// The generation ended because a text of generate.stop appeared.
pub const PUMICE_FINISH_STOP: i32 = 2;

/// The metadata value is an unsigned integer of 8 bits. (These are GGUF's own numbers.)
pub const PUMICE_META_U8: i32 = 0;
/// The metadata value is a signed integer of 8 bits.
pub const PUMICE_META_I8: i32 = 1;
/// The metadata value is an unsigned integer of 16 bits.
pub const PUMICE_META_U16: i32 = 2;
/// The metadata value is a signed integer of 16 bits.
pub const PUMICE_META_I16: i32 = 3;
/// The metadata value is an unsigned integer of 32 bits.
pub const PUMICE_META_U32: i32 = 4;
/// The metadata value is a signed integer of 32 bits.
pub const PUMICE_META_I32: i32 = 5;
/// The metadata value is a float of 32 bits.
pub const PUMICE_META_F32: i32 = 6;
/// The metadata value is a truth value.
pub const PUMICE_META_BOOL: i32 = 7;
/// The metadata value is a string.
pub const PUMICE_META_STRING: i32 = 8;
/// The elements of the metadata value are themselves arrays, which cannot be read through this interface.
pub const PUMICE_META_NESTED: i32 = 9;
/// The metadata value is an unsigned integer of 64 bits.
pub const PUMICE_META_U64: i32 = 10;
/// The metadata value is a signed integer of 64 bits.
pub const PUMICE_META_I64: i32 = 11;
/// The metadata value is a float of 64 bits.
pub const PUMICE_META_F64: i32 = 12;
/// Is added to the type of the elements if the metadata value is an array.
pub const PUMICE_META_ARRAY: i32 = 256;

/// The status of an error of the core. No class is left to a default, so that a new one fails to compile.
pub fn status(kind: ErrorKind) -> pumice_status {
    match kind {
        ErrorKind::Internal => PUMICE_ERR_INTERNAL,
        ErrorKind::Invalid => PUMICE_ERR_INVALID,
        ErrorKind::NoMemory => PUMICE_ERR_NO_MEMORY,
        ErrorKind::Io => PUMICE_ERR_IO,
        ErrorKind::Format => PUMICE_ERR_FORMAT,
        ErrorKind::Unsupported => PUMICE_ERR_UNSUPPORTED,
        ErrorKind::Mismatch => PUMICE_ERR_MISMATCH,
        ErrorKind::ContextFull => PUMICE_ERR_CONTEXT_FULL,
        ErrorKind::Cancelled => PUMICE_ERR_CANCELLED,
        ErrorKind::Syntax => PUMICE_ERR_SYNTAX,
        ErrorKind::NotFound => PUMICE_ERR_NOT_FOUND,
    }
}
