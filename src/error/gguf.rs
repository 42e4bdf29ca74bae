//! What can be wrong with the bytes of a GGUF file: one variant per kind of defect.

/// A defect in the container itself. `at` is the byte offset from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufDefect {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {found:02x?}, expected the four bytes \"GGUF\"")]
    BadMagic {
        /// The bytes found (fewer than four in a shorter file).
        found: Vec<u8>,
    },
}
