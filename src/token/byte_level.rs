//! The alphabet of byte-level BPE: each byte is written as one printable character.
//!
//! Bytes that Latin-1 prints (`!`..`~`, `¡`..`¬`, `®`..`ÿ`) stand for themselves; the other 68, in order, are the
//! characters from U+0100 on, so a space is `Ġ` and a newline `Ċ`.

const fn is_printed(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character for each byte.
pub(super) static CHARS: [char; 256] = {
    let mut chars = ['\0'; 256];
    let (mut byte, mut next) = (0, 0x100);
    while byte < 256 {
        let code = if is_printed(byte as u8) {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        chars[byte] = match char::from_u32(code) {
            Some(c) => c,
            None => panic!("all of these are characters"), // at compile time
        };
        byte += 1;
    }
    chars
};

/// Characters of the alphabet are below this.
const END: usize = 0x144;

/// The byte for each character, and 256 for characters that are not in the alphabet.
static BYTES: [u16; END] = {
    let mut bytes = [256; END];
    let mut byte = 0;
    while byte < 256 {
        bytes[CHARS[byte] as usize] = byte as u16;
        byte += 1;
    }
    bytes
};

/// The byte that a character stands for, by its code.
pub(super) fn byte_of(code: u32) -> Option<u8> {
    u8::try_from(*BYTES.get(code as usize)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_one_to_one() {
        for byte in 0..=255 {
            assert_eq!(byte_of(CHARS[usize::from(byte)].into()), Some(byte));
        }
        assert_eq!((CHARS[0x20], CHARS[0x0a], CHARS[0xad], CHARS[b'a' as usize]), ('Ġ', 'Ċ', 'Ń', 'a'));
        assert_eq!([' ', '\u{144}', '日'].map(|c| byte_of(c.into())), [None; 3]);
    }
}
