//! The little of Protocol Buffers that SentencePiece's model file needs: a message is fields, each a number and a value.
//!
//! Three messages with a handful of fields are read, once; a crate for that would bring a compiler of schemas along.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Integers, truth values and enumerations.
    Number(u64),
    /// Text, or a message of its own.
    Bytes(&'a [u8]),
    Float(f32),
    /// Of a kind that nothing here has.
    Other,
}

/// The fields of a message in order; `None` where it ends in the middle of one or is no message at all.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, len)?)
        }
        5 => Value::Float(f32::from_le_bytes(take(rest, 4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((tag >> 3, value))
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_until_the_message_breaks() {
        let message = [0x08, 0xac, 0x02, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let whole = [(1, Value::Number(300)), (2, Value::Bytes(b"hi")), (3, Value::Float(1.0)), (4, Value::Other)];
        assert_eq!(fields(&message).collect::<Option<Vec<_>>>().unwrap(), whole);
        for len in 0..message.len() {
            let ends_whole = [0, 3, 7, 12].contains(&len);
            assert_eq!(fields(&message[..len]).all(|field| field.is_some()), ends_whole, "{len}");
        }
        assert_eq!(fields(&[0xff; 12]).collect::<Vec<_>>(), [None]);
        assert_eq!(fields(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]).collect::<Vec<_>>(), [None]);
        assert_eq!(fields(&[0x0b]).collect::<Vec<_>>(), [None]);
    }
}
