//! The library as a whole: version, features, description.

use std::ffi::{CStr, c_char};
use std::fmt::Write;

use pumice::quant::{GgmlType, is_supported};
use pumice::{Kernels, Model};

use crate::abi::*;
use crate::call::{guard, guard_value};
use crate::keys::{self, KEYS, Kind, Options};

/// What a library may be built without.
const FEATURES: &[&str] = if cfg!(feature = "chat") { &["chat"] } else { &[] };

/// The version as the header has it: 0xMMmmpp00.
pub const VERSION_NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 24
    | number(env!("CARGO_PKG_VERSION_MINOR")) << 16
    | number(env!("CARGO_PKG_VERSION_PATCH")) << 8;

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) if number < 256 => number,
        _ => panic!("a part of the version is not below 256"),
    }
}

/// The version of the library that is running, comparable with the header's PUMICE_VERSION_NUMBER: 0xMMmmpp00.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_version_number() -> u32 {
    guard_value!(0, |_call| Ok(VERSION_NUMBER))
}

/// The version of the library that is running: "0.1.0". Static text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_version_string() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version without NUL"),
    };
    guard_value!(c"".as_ptr(), |_call| Ok(VERSION.as_ptr()))
}

/// The name of a status: "PUMICE_ERR_IO"; for a value that is none, "PUMICE_ERR_UNKNOWN". Static text, never NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_status_name(status: pumice_status) -> *const c_char {
    guard_value!(c"".as_ptr(), |_call| Ok(name(status).as_ptr()))
}

/// Whether this library, on this computer, has a feature: 1 or 0. Features are named like "arch:llama", "quant:q4_k",
/// "cpu:avx2" and "key:session.n_ctx"; "chat" stands for chat templates. 0 for NULL and for names that it does not know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_has_feature(name: *const c_char) -> i32 {
    guard_value!(0, |call| {
        let name = call.name("name", name)?;
        let (scope, name) = name.split_once(':').unwrap_or(("", name));
        let has = match scope {
            "" => FEATURES.contains(&name),
            "arch" => Model::architectures().any(|arch| arch == name),
            "quant" => quants().any(|quant| quant == name),
            "cpu" => Kernels::available().any(|kernels| kernels.name() == name),
            "key" => keys::find(name).is_some(),
            _ => false,
        };
        Ok(has.into())
    })
}

/// Describes the library as JSON: version, what it can run, and every option with its type, default and meaning. For
/// bug reports and for bindings; fields may be added in any version. Stores the size in bytes in `len`, and the text in
/// `buf` if it has room for it (`cap` bytes); NULL and 0 just ask for the size. PUMICE_ERR_BUFFER_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_describe(
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| call.fill_text(describe().as_bytes(), buf, cap, len))
}

/// The tensor types that can be computed with, as features spell them.
fn quants() -> impl Iterator<Item = String> {
    GgmlType::all().filter(|ty| is_supported(*ty)).map(|ty| ty.name().to_lowercase())
}

fn describe() -> String {
    let list = |names: &mut dyn Iterator<Item = String>| {
        format!("[{}]", names.map(|name| quoted(&name)).collect::<Vec<_>>().join(","))
    };
    let defaults = Options::default();
    let keys = KEYS.iter().map(|key| {
        let default = match key.kind {
            Kind::Int { get, .. } => get(&defaults).to_string(),
            Kind::Float { get, .. } => get(&defaults).to_string(),
            Kind::Text { get, .. } => quoted(&get(&defaults)),
        };
        let (name, kind, doc) = (quoted(key.name), quoted(key.kind.name()), quoted(key.doc));
        format!("{{\"key\":{name},\"type\":{kind},\"default\":{default},\"doc\":{doc}}}")
    });
    format!(
        "{{\"version\":{},\"features\":{},\"cpu\":{},\"arch\":{},\"quant\":{},\"keys\":[{}]}}",
        quoted(env!("CARGO_PKG_VERSION")),
        list(&mut FEATURES.iter().map(|name| (*name).to_owned())),
        list(&mut Kernels::available().map(|kernels| kernels.name().to_owned())),
        list(&mut Model::architectures().map(str::to_owned)),
        list(&mut quants()),
        keys.collect::<Vec<_>>().join(","),
    )
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _never_fails = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The statuses' names for C.
fn name(status: pumice_status) -> &'static CStr {
    macro_rules! names {
        ($($status:ident)*) => {
            match status {
                $($status => {
                    const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($status), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => panic!("a name without NUL"),
                    };
                    NAME
                })*
                _ => c"PUMICE_ERR_UNKNOWN",
            }
        };
    }
    names!(PUMICE_OK PUMICE_ERR_INTERNAL PUMICE_ERR_NULL PUMICE_ERR_INVALID PUMICE_ERR_BAD_HANDLE PUMICE_ERR_BUSY
        PUMICE_ERR_POISONED PUMICE_ERR_NO_MEMORY PUMICE_ERR_IO PUMICE_ERR_FORMAT PUMICE_ERR_UNSUPPORTED
        PUMICE_ERR_MISMATCH PUMICE_ERR_BUFFER_TOO_SMALL PUMICE_ERR_CONTEXT_FULL PUMICE_ERR_CANCELLED
        PUMICE_ERR_UNKNOWN_KEY PUMICE_ERR_WRONG_TYPE PUMICE_ERR_UTF8 PUMICE_ERR_SYNTAX PUMICE_ERR_NOT_FOUND)
}
