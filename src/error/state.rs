//! What can be wrong with a saved state.

/// The bytes are not a saved state, or not all of one, or not what was saved. `at` is a byte offset from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateDefect {
    /// The first eight bytes are not those of a state.
    #[error("not a saved state: it does not start with \"pumice\\0S\"")]
    BadMagic,
    /// It ends too early.
    #[error("at byte {at}: the state ends in {what}: {needed} bytes are needed, {remain} remain")]
    Truncated {
        /// Where the field starts.
        at: u64,
        /// What was being read.
        what: &'static str,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes from there to the end, less the checksum.
        remain: u64,
    },
    /// It has another size than it says.
    #[error("the state has {found} bytes, and says that it has {expected}")]
    BadLength {
        /// The bytes there are.
        found: u64,
        /// The bytes there should be.
        expected: u64,
    },
    /// A field has a value that no state has.
    #[error("at byte {at}: {what} is {found}, expected {expected}")]
    BadField {
        /// Where the field is.
        at: u64,
        /// Which it is.
        what: &'static str,
        /// What the state says.
        found: u64,
        /// What would be right.
        expected: String,
    },
    /// The bytes are not those that were saved.
    #[error("the state is damaged: its checksum is {found:016x}, of its bytes {expected:016x}")]
    BadChecksum {
        /// What the state says.
        found: u64,
        /// What its bytes give.
        expected: u64,
    },
}

/// The state is sound, but cannot be loaded here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateMismatch {
    /// A later version of this library wrote it.
    #[error("the state has the format version {found}, this library reads version {supported}")]
    Version {
        /// What the state says.
        found: u32,
        /// The latest that is read.
        supported: u32,
    },
    /// It belongs to another model.
    #[error("the state was saved with another model")]
    Model,
    /// Its keys and values are of another shape or kind.
    #[error("the state's {what} is {found}, expected {expected}")]
    Layout {
        /// Which property.
        what: &'static str,
        /// What the state says.
        found: u32,
        /// What the model has.
        expected: u32,
    },
    /// It does not hold exactly one sequence, but is to be loaded into one.
    #[error("the state holds {found} sequences, and is to be loaded into one")]
    Sequences {
        /// Sequences it holds.
        found: usize,
    },
}
