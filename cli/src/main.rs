//! The pumice command line.

fn main() {
    println!("pumice {}", env!("CARGO_PKG_VERSION"));
}
