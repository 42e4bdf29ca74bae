//! Gives the shared library its name for the loader: programs link against `libpumice.so.0`, whatever the file that
//! cargo makes is called. The number is the ABI's, which is not the version's: it changes only when programs must be
//! built anew.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libpumice.so.0");
        }
        Ok("macos") => println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libpumice.0.dylib"),
        _ => {}
    }
}
