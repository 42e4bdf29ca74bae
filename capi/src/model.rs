//! Models: opening them, sharing them, what they are.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::ops::Deref;
use std::sync::OnceLock;

use pumice::{Bytes, Error, Model};

use crate::abi::*;
use crate::call::{Fail, fail, guard, guard_free, guard_new, guard_value, int};
use crate::handle::Body;
use crate::keys::flow;

/// A model, and what it lends to C that the core does not have in this form.
pub struct Shared {
    pub model: Model,
    /// The metadata keys with a NUL behind each, once somebody asks.
    pub keys: OnceLock<Vec<Box<[u8]>>>,
}

impl Shared {
    fn new(model: Model) -> Self {
        Self { model, keys: OnceLock::new() }
    }
}

impl Deref for Shared {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl Body for Shared {
    type Opaque = pumice_model;
    const KIND: u32 = u32::from_ne_bytes(*b"pMod");
    const NAME: &'static str = "model";
}

/// The caller's memory, until it is told that nobody needs it any more.
struct Memory {
    data: *const c_void,
    size: usize,
    drop: pumice_drop_fn,
    user_data: *mut c_void,
}

// SAFETY: the memory is only read; the header says that `drop` may be called on any thread.
unsafe impl Send for Memory {}
// SAFETY: the same.
unsafe impl Sync for Memory {}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the header's promise: `size` bytes, readable and unchanged until `drop` is called. The function below
        // has checked that the pointer is not NULL and the size that of a slice.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.size) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the caller's own function and data, called once.
            unsafe { drop(self.user_data) };
        }
    }
}

/// Opens a model: a GGUF file, or the first part of a split one. `path` is UTF-8 on all systems. Reads PUMICE_KEY_MODEL_*
/// and the callbacks of `opts` (NULL: the defaults): progress is told in bytes, while the file is read or preloaded. The
/// caller frees the model with pumice_model_free. PUMICE_ERR_CANCELLED if progress stops, PUMICE_ERR_IO if the file cannot be
/// opened or read, PUMICE_ERR_FORMAT if it is not a sound model, PUMICE_ERR_UNSUPPORTED if it is of a kind that this
/// version cannot run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_open(
    path: *const c_char,
    opts: *const pumice_options,
    out: *mut *mut pumice_model,
    err: *mut pumice_error,
) -> pumice_status {
    guard_new!(out, err, |call| {
        let (path, options) = (call.name("path", path)?, call.options(opts)?);
        let model = Model::open_with(path, &options.model, |done, total| options.progress.tell(done, total))?;
        Ok((Shared::new(model), None))
    })
}

/// Opens a model whose `size` bytes are in memory. They are not copied: they must stay readable and unchanged until
/// `drop` is called with `user_data`. That happens exactly once, also if this call fails: then before it returns, else
/// when the model and everything that uses it have been freed, on the thread that frees the last. `drop` may be NULL,
/// for memory that stays. As pumice_model_open otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_open_memory(
    data: *const c_void,
    size: usize,
    drop: pumice_drop_fn,
    user_data: *mut c_void,
    opts: *const pumice_options,
    out: *mut *mut pumice_model,
    err: *mut pumice_error,
) -> pumice_status {
    let memory = Memory { data, size, drop, user_data };
    guard_new!(out, err, |call| {
        let memory = memory; // all of it, so that the caller hears of its end in any case
        call.slice("data", memory.data.cast::<u8>(), memory.size)?;
        if memory.data.is_null() {
            return Err(Fail::null("data"));
        }
        let options = call.options(opts)?;
        let progress = |done, total| options.progress.tell(done, total);
        let model = Model::from_bytes_with("memory", Bytes::from_owner(memory), &options.model, progress)?;
        Ok((Shared::new(model), None))
    })
}

/// Opens a model of `size` bytes that `read` gets from anywhere, such as an archive. Each byte is asked for once, the
/// header first; with PUMICE_KEY_MODEL_METADATA_ONLY only the header, rounded up to 4 KiB. The header is checked before
/// memory is taken for the rest, which is read into memory of the library's own. `read` is used during the call only.
/// PUMICE_ERR_CANCELLED if it stops, PUMICE_ERR_FORMAT if what it reads is not a sound model, PUMICE_ERR_NO_MEMORY. As
/// pumice_model_open otherwise; models that are split into several files cannot be opened in this way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_open_reader(
    read: pumice_read_fn,
    user_data: *mut c_void,
    size: u64,
    opts: *const pumice_options,
    out: *mut *mut pumice_model,
    err: *mut pumice_error,
) -> pumice_status {
    guard_new!(out, err, |call| {
        let read = read.ok_or(Fail::null("read"))?;
        let options = call.options(opts)?;
        let mut stopped = None;
        let fill = |offset: u64, buffer: &mut [u8]| {
            // SAFETY: the caller's own function and data; the buffer is as long as it says.
            let answer = unsafe { read(user_data, offset, buffer.as_mut_ptr().cast(), buffer.len()) };
            if flow(answer).is_break() {
                stopped = Some((offset, buffer.len()));
                return Err(Error::Cancelled);
            }
            Ok(())
        };
        let progress = |done, total| options.progress.tell(done, total);
        let model = Model::from_reader("reader", size, fill, &options.model, progress);
        match (model, stopped) {
            (Err(_), Some((offset, len))) => {
                let text = format!("cancelled: the reader did not read {len} bytes at {offset}");
                Err(fail(PUMICE_ERR_CANCELLED, text))
            }
            (model, _) => Ok((Shared::new(model?), None)),
        }
    })
}

/// Makes another handle of the same model (the pointer is the same), which is freed on its own: the model lives until
/// pumice_model_free was called once for each. Returns NULL if `model` is not a model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_ref(model: *mut pumice_model) -> *mut pumice_model {
    guard_value!(std::ptr::null_mut(), |call| {
        call.head::<Shared>(model)?.add_reference();
        Ok(model)
    })
}

/// Frees a handle of a model. Sessions and samplers keep the model alive by themselves: handles may be freed in any
/// order. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_free(model: *mut pumice_model) {
    guard_free!(Shared, model)
}

/// A number that describes the model: "n_ctx_train" (positions it was trained on), "n_embd", "n_layer", "n_head",
/// "n_head_kv", "head_dim", "n_ff", "n_vocab", "n_labels" (classes of its classification head, 0 without one),
/// "memory.weights" (bytes of the file). PUMICE_ERR_NOT_FOUND for other names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_get_int(
    model: *const pumice_model,
    name: *const c_char,
    out: *mut i64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, name, out) = (call.shared::<Shared>(model)?, call.name("name", name)?, call.out("out", out)?);
        let p = model.params();
        out.set(match name {
            "n_ctx_train" => int(p.n_ctx_train),
            "n_embd" => int(p.n_embd),
            "n_layer" => int(p.n_layer),
            "n_head" => int(p.n_head),
            "n_head_kv" => int(p.n_head_kv),
            "head_dim" => int(p.head_dim),
            "n_ff" => int(p.n_ff),
            "n_vocab" => int(p.n_vocab),
            "n_labels" => int(model.labels().len()),
            "memory.weights" => i64::try_from(model.gguf().file_bytes()).unwrap_or(i64::MAX),
            _ => return Err(no_such(name)),
        });
        Ok(())
    })
}

/// What a session with these options (NULL: the defaults) will take, in bytes:
///
/// - "weights": the model's file. All sessions of a model share it, and if it is mapped, all processes
/// - "kv": the keys and values of one sequence that fills its context. Memory is taken as it is needed, for 128 positions
///   at a time
/// - "scratch": the buffers of a step of "session.chunk" tokens on "session.threads" threads, and one output. A prompt with
///   fewer tokens takes less; each further output of a call takes 4 bytes for each token of the vocabulary (with
///   "session.embeddings", 4 * "n_embd" more)
/// - "total": all of these
///
/// PUMICE_ERR_NOT_FOUND for other names, PUMICE_ERR_INVALID for options that a session could not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_memory(
    model: *const pumice_model,
    opts: *const pumice_options,
    name: *const c_char,
    out: *mut i64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, options) = (call.shared::<Shared>(model)?, call.options(opts)?);
        let (name, out) = (call.name("name", name)?, call.out("out", out)?);
        let memory = model.memory(&options.session)?;
        out.set(int(match name {
            "weights" => memory.weights,
            "kv" => memory.kv,
            "scratch" => memory.scratch,
            "total" => memory.total(),
            _ => return Err(fail(PUMICE_ERR_NOT_FOUND, format!("there is no memory called `{name}`"))),
        }));
        Ok(())
    })
}

/// A text that describes the model: "arch" (the architecture: "llama"), "quant" (the tensor type that most of the file is
/// made of: "Q4_K"). Stores a pointer to `len` bytes of UTF-8, not NUL-terminated, borrowed from the model: valid until
/// it is freed. PUMICE_ERR_NOT_FOUND for other names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_get_string(
    model: *const pumice_model,
    name: *const c_char,
    out: *mut *const c_char,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, name) = (call.shared::<Shared>(model)?, call.name("name", name)?);
        let (out, len) = (call.out("out", out)?, call.out("len", len)?);
        let text = match name {
            "arch" => &model.params().arch,
            "quant" => quant(model),
            _ => return Err(no_such(name)),
        };
        out.set(text.as_ptr().cast());
        len.set(text.len());
        Ok(())
    })
}

fn no_such(name: &str) -> Fail {
    fail(PUMICE_ERR_NOT_FOUND, format!("models have no `{name}`"))
}

/// The type that most bytes of the tensors are of.
fn quant(model: &Model) -> &'static str {
    let mut bytes = BTreeMap::new();
    for tensor in model.gguf().tensors() {
        *bytes.entry(tensor.ty).or_insert(0) += tensor.byte_len();
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or("", |(ty, _)| ty.name())
}
