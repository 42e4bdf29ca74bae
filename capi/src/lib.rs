//! The C ABI of pumice: `include/pumice.h`, which is generated from the modules here, comments included. So the
//! documentation of exported items is written for C programmers; what only matters on this side is in `//` comments.
//!
//! Every exported function is one `guard!`, and every pointer that comes from C goes through `call::Call`.
#![allow(unsafe_code)] // pointers from C
#![allow(non_camel_case_types)] // the names are C's

#[cfg(not(panic = "unwind"))]
compile_error!("the C ABI turns panics into status codes, which takes panic = \"unwind\"");

mod abi;
mod batch;
mod call;
mod chat;
mod error;
mod generate;
mod handle;
#[cfg(test)]
mod header;
mod keys;
mod library;
mod metadata;
mod model;
mod options;
mod sampler;
mod sequence;
mod session;
mod state;
mod task;
mod tokenizer;
