//! Metadata values as JSON and as text for people.

use pumice::gguf::{Array, Value};
use serde_json::{Value as Json, json};

use crate::show::visible;

/// Longer arrays are not shown whole.
const WHOLE: usize = 16;
/// So many of a longer array's values are shown.
const FIRST: usize = 4;
/// So many characters of a string are shown to people.
const CHARS: usize = 100;

/// The value; long arrays as an object with their type, count and first values.
pub fn json(value: Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F32(v) => float(v),
        Value::F64(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::Str(v) => json!(v),
        Value::Array(array) if array.len() <= WHOLE => Json::Array(elements(array, WHOLE)),
        Value::Array(array) => {
            json!({"type": array.elem_type().name(), "count": array.len(), "first": elements(array, FIRST)})
        }
    }
}

/// The number with the digits that an f32 has, 0.00001 and not 0.000009999999747; null if it is none.
fn float(v: f32) -> Json {
    json!(v.to_string().parse::<f64>().ok())
}

/// The first values of an array, at most `most`.
fn elements(array: Array, most: usize) -> Vec<Json> {
    if let Some(values) = array.iter_strs() {
        values.take(most).map(|bytes| json!(String::from_utf8_lossy(bytes))).collect()
    } else if let Some(values) = array.iter_u64() {
        values.take(most).map(|v| json!(v)).collect()
    } else if let Some(values) = array.iter_i64() {
        values.take(most).map(|v| json!(v)).collect()
    } else if let Some(values) = array.iter_f32() {
        values.take(most).map(float).collect()
    } else if let Some(values) = array.iter_bool() {
        values.take(most).map(|v| json!(v)).collect()
    } else if let Some(values) = array.iter_arrays() {
        values.take(most).map(|inner| json(Value::Array(inner))).collect()
    } else {
        Vec::new()
    }
}

/// One line without control characters; long strings and arrays cut.
pub fn text(value: Value) -> String {
    match value {
        Value::Str(v) => match v.char_indices().nth(CHARS) {
            None => quoted(v),
            Some((end, _)) => format!("{}… ({} bytes)", quoted(&v[..end]), v.len()),
        },
        Value::Array(array) => {
            let values =
                elements(array, FIRST).iter().map(|v| visible(&v.to_string()).into_owned()).collect::<Vec<_>>();
            let more = if array.len() > FIRST { ", …" } else { "" };
            format!("{} {}: [{}{more}]", array.len(), array.elem_type().name(), values.join(", "))
        }
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        value => json(value).to_string(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text))
}
