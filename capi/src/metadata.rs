//! A model's raw metadata.

use std::ffi::c_char;

use pumice::gguf::{Value, ValueType};

use crate::abi::*;
use crate::call::{Call, Fail, fail, guard};
use crate::model::Shared;

/// How many metadata keys the model's file has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_meta_count(
    model: *const pumice_model,
    out: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, out) = (call.shared::<Shared>(model)?, call.out("out", out)?);
        out.set(model.gguf().keys().count());
        Ok(())
    })
}

/// The name of metadata key number `index`, in the file's order. Stores a pointer to `len` bytes of UTF-8 with a NUL
/// behind them, borrowed from the model: valid until it is freed. PUMICE_ERR_NOT_FOUND beyond the last one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_meta_key(
    model: *const pumice_model,
    index: usize,
    key: *mut *const c_char,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let model = call.shared::<Shared>(model)?;
        let (out, len) = (call.out("key", key)?, call.out("len", len)?);
        let keys = model.keys.get_or_init(|| {
            let with_nul = |key: &str| key.bytes().chain([0]).collect();
            model.gguf().keys().map(|(key, _)| with_nul(key)).collect()
        });
        let text = (keys.get(index)).ok_or_else(|| {
            fail(PUMICE_ERR_NOT_FOUND, format!("there is no key number {index}: there are {}", keys.len()))
        })?;
        out.set(text.as_ptr().cast());
        len.set(text.len() - 1);
        Ok(())
    })
}

/// The type of a metadata value, PUMICE_META_*, and how many elements it has: 1 unless it is an array.
/// PUMICE_ERR_NOT_FOUND if the key is not there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_meta_type(
    model: *const pumice_model,
    key: *const c_char,
    r#type: *mut i32,
    count: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (_, value) = value(call, model, key)?;
        let (ty, count) = (call.out("type", r#type)?, call.out("count", count)?);
        match value {
            Value::Array(array) => {
                ty.set(id(array.elem_type()) + PUMICE_META_ARRAY);
                count.set(array.len());
            }
            scalar => {
                ty.set(id(scalar.ty()));
                count.set(1);
            }
        }
        Ok(())
    })
}

/// An integer, or a truth value as 0 or 1, of the metadata: the value of `key`, or element number `index` of it (0 for
/// the value of a key that is no array). PUMICE_ERR_NOT_FOUND if the key or the element is not there,
/// PUMICE_ERR_WRONG_TYPE if it is of another type, PUMICE_ERR_INVALID if it is above INT64_MAX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_meta_int(
    model: *const pumice_model,
    key: *const c_char,
    index: usize,
    out: *mut i64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (key, value) = value(call, model, key)?;
        let out = call.out("out", out)?;
        out.set(match number(key, value, index)? {
            Value::Bool(truth) => truth.into(),
            Value::U64(large) => i64::try_from(large)
                .map_err(|_| fail(PUMICE_ERR_INVALID, format!("`{key}` is {large}, more than an int64_t holds")))?,
            other => other.as_i64().ok_or_else(|| wrong_type(key, value, "an integer"))?,
        });
        Ok(())
    })
}

/// A float of the metadata; otherwise as pumice_model_meta_int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_meta_float(
    model: *const pumice_model,
    key: *const c_char,
    index: usize,
    out: *mut f64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (key, value) = value(call, model, key)?;
        let out = call.out("out", out)?;
        out.set(match number(key, value, index)? {
            Value::F32(float) => float.into(),
            Value::F64(float) => float,
            _ => return Err(wrong_type(key, value, "a float")),
        });
        Ok(())
    })
}

/// A string of the metadata: any bytes, since vocabularies hold pieces of characters. Stores a pointer to `len` bytes,
/// not NUL-terminated, borrowed from the model: valid until it is freed. Otherwise as pumice_model_meta_int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_meta_string(
    model: *const pumice_model,
    key: *const c_char,
    index: usize,
    out: *mut *const c_char,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (key, value) = value(call, model, key)?;
        let (out, len) = (call.out("out", out)?, call.out("len", len)?);
        let text = match value {
            Value::Str(text) if index == 0 => text.as_bytes(),
            Value::Str(_) => return Err(no_element(key, index, 1)),
            Value::Array(array) if array.elem_type() == ValueType::Str => {
                array.get_str_bytes(index).ok_or_else(|| no_element(key, index, array.len()))?
            }
            _ => return Err(wrong_type(key, value, "a string")),
        };
        out.set(text.as_ptr().cast());
        len.set(text.len());
        Ok(())
    })
}

/// The key's name, for messages, and its value.
fn value(call: &Call, model: *const pumice_model, key: *const c_char) -> Result<(&str, Value<'_>), Fail> {
    let (model, key) = (call.shared::<Shared>(model)?, call.name("key", key)?);
    let value = model.gguf().get(key);
    Ok((key, value.ok_or_else(|| fail(PUMICE_ERR_NOT_FOUND, format!("the file has no key `{key}`")))?))
}

/// The value itself, or an element of it; strings and arrays of them are of no use to the callers.
fn number<'a>(key: &str, value: Value<'a>, index: usize) -> Result<Value<'a>, Fail> {
    match value {
        Value::Array(array) if array.elem_type().size().is_some() => {
            array.get_number(index).ok_or_else(|| no_element(key, index, array.len()))
        }
        Value::Array(_) => Ok(value),
        _ if index == 0 => Ok(value),
        _ => Err(no_element(key, index, 1)),
    }
}

fn no_element(key: &str, index: usize, len: usize) -> Fail {
    fail(PUMICE_ERR_NOT_FOUND, format!("`{key}` has no element {index}: it has {len}"))
}

fn wrong_type(key: &str, value: Value, expected: &str) -> Fail {
    fail(PUMICE_ERR_WRONG_TYPE, format!("`{key}` is {value}, not {expected}"))
}

/// GGUF's numbers and the header's are the same, but only the header's are a promise.
fn id(ty: ValueType) -> i32 {
    match ty {
        ValueType::U8 => PUMICE_META_U8,
        ValueType::I8 => PUMICE_META_I8,
        ValueType::U16 => PUMICE_META_U16,
        ValueType::I16 => PUMICE_META_I16,
        ValueType::U32 => PUMICE_META_U32,
        ValueType::I32 => PUMICE_META_I32,
        ValueType::F32 => PUMICE_META_F32,
        ValueType::Bool => PUMICE_META_BOOL,
        ValueType::Str => PUMICE_META_STRING,
        ValueType::Array => PUMICE_META_NESTED,
        ValueType::U64 => PUMICE_META_U64,
        ValueType::I64 => PUMICE_META_I64,
        ValueType::F64 => PUMICE_META_F64,
    }
}
