//! Options: settings by key.

use std::ffi::{c_char, c_void};

use pumice::{Level, Log};

use crate::abi::*;
use crate::call::{Call, Fail, fail, guard, guard_free, guard_new};
use crate::handle::Body;
use crate::keys::{self, Key, Kind, Options, Progress};

impl Body for Options {
    type Opaque = pumice_options;
    const KIND: u32 = u32::from_ne_bytes(*b"pOpt");
    const NAME: &'static str = "options";
}

impl Call {
    /// A copy of the options, or the defaults for NULL.
    pub fn options(&self, opts: *const pumice_options) -> Result<Options, Fail> {
        if opts.is_null() {
            return Ok(Options::default());
        }
        self.shared::<Options>(opts).cloned()
    }

    fn key(&self, key: *const c_char) -> Result<&'static Key, Fail> {
        let name = self.name("key", key)?;
        keys::find(name).ok_or_else(|| fail(PUMICE_ERR_UNKNOWN_KEY, format!("there is no option `{name}`")))
    }
}

fn wrong_type(key: &Key) -> Fail {
    let (name, kind) = (key.name, key.kind.name());
    fail(PUMICE_ERR_WRONG_TYPE, format!("{name} is of type {kind}: it is set by pumice_options_set_{kind}"))
}

fn out_of_range(key: &Key, found: impl std::fmt::Display) -> impl FnOnce(String) -> Fail {
    move |expected| fail(PUMICE_ERR_INVALID, format!("{} is {found}, expected {expected}", key.name))
}

/// Makes a set of options, all with their defaults. One set can hold the options of every kind of call; each call
/// reads its own. Calls copy what they need: a set may be changed or freed right after. Wherever a function takes
/// options, NULL stands for the defaults. The caller frees it with pumice_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_new(out: *mut *mut pumice_options, err: *mut pumice_error) -> pumice_status {
    guard_new!(out, err, |_call| Ok((Options::default(), None)))
}

/// Sets an option whose value is an integer or a truth value (0 or 1). `key` is one of PUMICE_KEY_*, whose comments
/// say the types. PUMICE_ERR_UNKNOWN_KEY, PUMICE_ERR_WRONG_TYPE, or PUMICE_ERR_INVALID if the value is out of range;
/// the options are then as they were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_set_int(
    opts: *mut pumice_options,
    key: *const c_char,
    value: i64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (options, key) = (call.exclusive::<Options>(opts)?, call.key(key)?);
        let Kind::Int { set, .. } = key.kind else { return Err(wrong_type(key)) };
        set(options, value).map_err(out_of_range(key, value))?;
        options.set.insert(key.name);
        Ok(())
    })
}

/// Sets an option whose value is a float. As pumice_options_set_int otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_set_float(
    opts: *mut pumice_options,
    key: *const c_char,
    value: f64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (options, key) = (call.exclusive::<Options>(opts)?, call.key(key)?);
        let Kind::Float { set, .. } = key.kind else { return Err(wrong_type(key)) };
        set(options, value).map_err(out_of_range(key, value))?;
        options.set.insert(key.name);
        Ok(())
    })
}

/// Sets an option whose value is a string: `len` bytes of UTF-8, copied. A list, such as generate.stop, gets one
/// element more. As pumice_options_set_int otherwise; PUMICE_ERR_UTF8 if the value is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_set_string(
    opts: *mut pumice_options,
    key: *const c_char,
    value: *const c_char,
    len: usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (options, key) = (call.exclusive::<Options>(opts)?, call.key(key)?);
        let Kind::Text { set, .. } = key.kind else { return Err(wrong_type(key)) };
        let value = call.text("value", value, len)?;
        set(options, value).map_err(out_of_range(key, format_args!("{value:?}")))?;
        options.set.insert(key.name);
        Ok(())
    })
}

/// Gives an option its default again; a list becomes empty. PUMICE_ERR_UNKNOWN_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_unset(
    opts: *mut pumice_options,
    key: *const c_char,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (options, key) = (call.exclusive::<Options>(opts)?, call.key(key)?);
        options.set.remove(key.name);
        let defaults = Options::default();
        match key.kind {
            Kind::Int { get, set } => set(options, get(&defaults)),
            Kind::Float { get, set } => set(options, get(&defaults)),
            Kind::Text { unset, .. } => {
                unset(options);
                Ok(())
            }
        }
        .map_err(out_of_range(key, "the default"))
    })
}

/// Sets what calls that take long tell their progress to; NULL for nothing. It is used only while a call runs that was
/// given these options: pumice_model_open and its like tell how many bytes have been read or preloaded,
/// pumice_session_generate how many tokens of the prompt are done, after each layer (rounded down).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_set_progress(
    opts: *mut pumice_options,
    r#fn: pumice_progress_fn,
    user_data: *mut c_void,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        call.exclusive::<Options>(opts)?.progress = Progress { function: r#fn, user_data };
        Ok(())
    })
}

/// Whom messages go to, until the last copy of this is gone.
struct Listener {
    function: pumice_log_fn,
    user_data: *mut c_void,
    drop: pumice_drop_fn,
}

// SAFETY: the header says that the log and `drop` may be called on any thread that makes a call or frees a handle.
unsafe impl Send for Listener {}
// SAFETY: the same; calls at the same time come from threads that use the model at the same time.
unsafe impl Sync for Listener {}

impl Listener {
    fn tell(&self, level: Level, message: &str) {
        let level = match level {
            Level::Error => PUMICE_LOG_ERROR,
            Level::Warn => PUMICE_LOG_WARN,
            Level::Info => PUMICE_LOG_INFO,
            _ => PUMICE_LOG_DEBUG,
        };
        if let Some(function) = self.function {
            // SAFETY: the caller's own function and data; the message lives until it returns.
            unsafe { function(self.user_data, level, message.as_ptr().cast(), message.len()) };
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the caller's own function and data, called once.
            unsafe { drop(self.user_data) };
        }
    }
}

/// Sets where messages go: those of `level`, one of PUMICE_LOG_*, and of lower ones. NULL for nowhere, which is the
/// default. Models and sessions that are made with these options keep it for as long as they live; sessions may be used by
/// several threads, and then `fn` is called on each of them. `drop` (NULL: none) is called with `user_data` exactly once:
/// when no options, model or session has it any more, on the thread that frees the last or sets another log; if this call
/// fails, or sets no log, before it returns. PUMICE_ERR_INVALID for other levels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_set_log(
    opts: *mut pumice_options,
    level: i32,
    r#fn: pumice_log_fn,
    user_data: *mut c_void,
    drop: pumice_drop_fn,
    err: *mut pumice_error,
) -> pumice_status {
    let listener = Listener { function: r#fn, user_data, drop };
    guard!(err, |call| {
        let listener = listener; // all of it, so that the caller hears of its end in any case
        let options = call.exclusive::<Options>(opts)?;
        let most = match level {
            PUMICE_LOG_OFF => None,
            PUMICE_LOG_ERROR => Some(Level::Error),
            PUMICE_LOG_WARN => Some(Level::Warn),
            PUMICE_LOG_INFO => Some(Level::Info),
            PUMICE_LOG_DEBUG => Some(Level::Debug),
            _ => {
                let text = format!("level is {level}, expected one of PUMICE_LOG_*");
                return Err(fail(PUMICE_ERR_INVALID, text));
            }
        };
        let log = match most.filter(|_| listener.function.is_some()) {
            Some(most) => Log::new(most, move |level, message| listener.tell(level, message)),
            None => Log::default(),
        };
        options.model.log = log.clone();
        options.session.log = log;
        Ok(())
    })
}

/// Frees options. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_options_free(opts: *mut pumice_options) {
    guard_free!(Options, opts)
}
