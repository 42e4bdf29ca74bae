//! x86-64: AVX2, and AVX-512 with VNNI, and perhaps with BF16.

use std::arch::x86_64::{__cpuid_count, CpuidResult};
use std::sync::OnceLock;

mod avx2;
mod avx512;
mod bf16;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;
pub(super) use bf16::PairsOfBf16;

/// Whether weights that are asked for ahead are best in the first-level cache, which stands for how many loads can be
/// on their way to it. They are on Zen 5, whose cache is larger than Zen 4's 32 kB. On Zen 4 they hold up the loads of
/// those in use: with the second-level cache, tokens are a third faster. So they are on Intel's CPUs, however large it
/// is: Emerald Rapids (48 kB) is 4 to 13 % faster with the second.
fn weights_near() -> bool {
    static NEAR: OnceLock<bool> = OnceLock::new();
    *NEAR.get_or_init(|| {
        // Tests take the other paths too, whatever the CPU.
        #[cfg(test)]
        if let Ok(near) = std::env::var("PUMICE_TEST_NEAR") {
            return near == "1";
        }
        is_amd() && first_level_bytes() > 32 << 10
    })
}

/// Takes a cache line from other cores, to be written. (The intrinsic is the instruction only where the compiler may
/// suppose a CPU that has it. Those that have not, take it for one that does nothing.)
#[inline(always)]
pub(super) fn prefetch_write(at: *const u8) {
    // SAFETY: nothing is read or written, whatever the address.
    unsafe { std::arch::asm!("prefetchw [{0}]", in(reg) at, options(nostack, preserves_flags)) }
}

/// Leaf 0 holds the vendor's name, twelve letters in three registers.
fn is_amd() -> bool {
    let vendor = cpuid(0, 0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

/// Bytes of a core's first-level data cache; 0 if the CPU does not say. Intel describes caches in leaf 4 (Software
/// Developer's Manual, volume 2, CPUID), AMD in leaf 8000_001dh (Architecture Programmer's Manual, volume 3, appendix
/// E), both alike.
fn first_level_bytes() -> usize {
    let leaves = [4, 0x8000_001d].into_iter().filter(|leaf| cpuid(leaf & 1 << 31, 0).eax >= *leaf);
    // Type 1 is data.
    let mut caches = leaves.flat_map(|leaf| (0..8).map(move |cache| cpuid(leaf, cache)));
    caches.find(|cache| cache.eax & 0xff == 1 << 5 | 1).map_or(0, |cache| {
        // Ways, partitions, bytes of a line and sets, each less one.
        let sizes = [cache.ebx >> 22, cache.ebx >> 12 & 0x3ff, cache.ebx & 0xfff, cache.ecx];
        sizes.into_iter().fold(1, |bytes: usize, size| bytes.saturating_mul(size as usize + 1))
    })
}

#[allow(unused_unsafe)] // the intrinsic became a safe function after the oldest Rust that this builds with
fn cpuid(leaf: u32, sub_leaf: u32) -> CpuidResult {
    // SAFETY: every x86-64 has the instruction.
    unsafe { __cpuid_count(leaf, sub_leaf) }
}

#[cfg(test)]
mod tests {
    /// Linux finds it out by itself, where it shows it.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_first_level_cache_is_as_large_as_the_system_says() {
        let file = |name| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index0/{name}"));
        let (Ok(kind), Ok(size)) = (file("type"), file("size")) else { return };
        assert_eq!(kind.trim(), "Data");
        assert_eq!(format!("{}K", super::first_level_bytes() >> 10), size.trim());
    }
}
