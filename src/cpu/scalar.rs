//! The lanes in plain Rust: runs on every CPU, and says what each operation means.

use half::f16;

use super::vector::{Simd, Task, offset};

/// No instruction beyond the target's baseline.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

#[inline(always)]
fn each<A: Copy, B: Copy, R>(a: [A; 16], b: [B; 16], f: impl Fn(A, B) -> R) -> [R; 16] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn dot_bytes(w: impl Iterator<Item = i32>, x: u32) -> u32 {
    let dot: i32 = w.zip(x.to_le_bytes()).map(|(w, x)| w * i32::from(x as i8)).sum();
    dot as u32
}

// Sixteen of what x86-64's baseline has no instruction for, and does by a call each: copies of that in every kernel made
// a tenth of the library. Other baselines have the instructions, and gain from seeing them in place.

#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline(always))]
fn fma(a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
    std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
}

#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline(always))]
fn from_f16(x: [u16; 16]) -> [f32; 16] {
    x.map(|bits| f16::from_bits(bits).to_f32())
}

#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline(always))]
fn to_f16(x: [f32; 16]) -> [u16; 16] {
    x.map(|x| f16::from_f32(x).to_bits())
}

// Nor has it one for these, which are long.

#[inline(never)]
fn greatest4(x: [[f32; 16]; 4]) -> [f32; 4] {
    x.map(|x| Scalar.greatest(x))
}

#[inline(never)]
fn low_bytes(x: [[u32; 16]; 4]) -> ([[i8; 16]; 4], [i32; 4]) {
    let bytes = x.map(|x| Scalar.to_i8(x));
    (bytes, bytes.map(|bytes| bytes.iter().map(|byte| i32::from(*byte)).sum()))
}

impl Simd for Scalar {
    type F = [f32; 16];
    type I = [u32; 16];

    const WIDE_OFFSET: i32 = 0;
    const QUERIES: usize = 1;
    const PAIRS: bool = false;
    const DOTS: bool = true;

    #[inline(never)]
    fn call<T: Task<Self>>(self, task: T) {
        task.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> [f32; 16] {
        *x
    }
    #[inline(always)]
    fn to_array(self, x: [f32; 16]) -> [f32; 16] {
        x
    }
    #[inline(always)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn fma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        fma(a, b, c)
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> [f32; 16] {
        from_f16(*x)
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> [f32; 16] {
        x.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }
    #[inline(always)]
    fn to_f16(self, x: [f32; 16]) -> [u16; 16] {
        to_f16(x)
    }
    #[inline(always)]
    fn low_f16(self, x: [u32; 16]) -> [f32; 16] {
        from_f16(x.map(|x| x as u16))
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> [u32; 16] {
        [x as u32; 16]
    }
    #[inline(always)]
    fn load_i(self, x: &[u32; 16]) -> [u32; 16] {
        *x
    }
    #[inline(always)]
    fn to_array_i(self, x: [u32; 16]) -> [u32; 16] {
        x
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> [u32; 16] {
        x.map(|x| i32::from(x) as u32)
    }
    #[inline(always)]
    fn add_i(self, a: [u32; 16], b: [u32; 16]) -> [u32; 16] {
        each(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn and(self, a: [u32; 16], b: [u32; 16]) -> [u32; 16] {
        each(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: [u32; 16], b: [u32; 16]) -> [u32; 16] {
        each(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn xor(self, a: [u32; 16], b: [u32; 16]) -> [u32; 16] {
        each(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: [u32; 16]) -> [u32; 16] {
        a.map(|a| a << N)
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: [u32; 16]) -> [u32; 16] {
        a.map(|a| a >> N)
    }
    #[inline(always)]
    fn normal_bf16(self, a: [u32; 16]) -> [u32; 16] {
        let normal = |x: u32, shift: u32| if x >> shift & 0x7f80 == 0 { 0 } else { x & 0xffff << shift };
        a.map(|x| normal(x, 0) | normal(x, 16))
    }
    #[inline(always)]
    fn to_i8(self, a: [u32; 16]) -> [i8; 16] {
        a.map(|a| a as i8)
    }
    #[inline(always)]
    fn to_f32(self, a: [u32; 16]) -> [f32; 16] {
        a.map(|a| a as i32 as f32)
    }
    #[inline(always)]
    fn as_f32(self, a: [u32; 16]) -> [f32; 16] {
        a.map(f32::from_bits)
    }
    #[inline(always)]
    fn as_i32(self, a: [f32; 16]) -> [u32; 16] {
        a.map(f32::to_bits)
    }
    #[inline(always)]
    fn greatest4(self, x: [[f32; 16]; 4]) -> [f32; 4] {
        greatest4(x)
    }
    #[inline(always)]
    fn low_bytes(self, x: [[u32; 16]; 4]) -> ([[i8; 16]; 4], [i32; 4]) {
        low_bytes(x)
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: [u32; 16]) -> [u32; 16] {
        index.map(|lane| u32::from_le_bytes(lane.to_le_bytes().map(|i| table[usize::from(i & 15)] as u8)))
    }

    #[inline(always)]
    fn dot4(self, acc: [u32; 16], w: [u32; 16], x: [u32; 16]) -> [u32; 16] {
        self.add_i(acc, each(w, x, |w, x| dot_bytes(w.to_le_bytes().into_iter().map(i32::from), x)))
    }
    #[inline(always)]
    fn wide(self, w: [u32; 16]) -> [u32; 16] {
        w
    }
    #[inline(always)]
    fn dot4_wide(self, acc: [u32; 16], w: [u32; 16], x: [u32; 16]) -> [u32; 16] {
        self.add_i(acc, each(w, x, |w, x| dot_bytes(w.to_le_bytes().into_iter().map(|b| i32::from(b as i8)), x)))
    }

    #[inline(always)]
    unsafe fn load_rows(self, base: *const u8, strides: [usize; 3]) -> [[u32; 16]; 4] {
        let mut out = [[0; 16]; 4];
        for r in 0..16 {
            // SAFETY: the caller's contract: sixteen bytes of each place are readable.
            let row = unsafe { base.add(offset(strides, r)).cast::<[[u8; 4]; 4]>().read_unaligned() };
            for g in 0..4 {
                out[g][r] = u32::from_le_bytes(row[g]);
            }
        }
        out
    }

    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
    #[inline(always)]
    fn prefetch_near(self, _at: *const u8) {}
}
