//! The C ABI of pumice.
