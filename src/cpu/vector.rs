//! The vocabulary of the SIMD kernels: sixteen lanes of f32, of i32, and of four bytes each.
//!
//! Every kernel that is not matrix code of the scalar table is written once over [`Simd`] and compiled once per
//! instruction set. A value of a type that implements it proves that the CPU has the instructions: such a value is
//! only made where they were detected, so its methods are safe to call.
//!
//! Methods are `inline(always)` and the kernels are entered through a function with the right `target_feature`
//! list; without both, the intrinsics would be calls.

use super::float::{self, Float};

/// Sixteen lanes; see the module's text. Arithmetic is IEEE f32, rounded to nearest even, never reassociated.
pub(crate) trait Simd: Copy {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen i32; also four bytes per lane, little-endian.
    type I: Copy;

    /// What [`Simd::wide`] adds to signed bytes: the dot product's start value takes it out again.
    const WIDE_OFFSET: i32;

    /// Attention queries that share what is loaded: as many as leave their sums in registers.
    const QUERIES: usize;

    /// Whether there are registers enough to walk along twice sixteen rows together, or along eight with what a pair of
    /// their groups meets.
    const PAIRS: bool;

    /// Whether [`Simd::dot4`] is one instruction. If it is not, [`Simd::pair_sums`] take fewer.
    const DOTS: bool;

    /// Runs a task in a function of its own, compiled for these lanes: what it is generic over decides how often there is
    /// code for it, not where it is called.
    fn call<T: Task<Self>>(self, task: T);

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; 16]) -> Self::F;
    fn to_array(self, x: Self::F) -> [f32; 16];
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }` in every lane (so `b` where either is not a number).
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { a } else { b }` in every lane (so `b` where either is not a number).
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// Sixteen IEEE halves, exactly.
    fn load_f16(self, x: &[u16; 16]) -> Self::F;
    /// Sixteen bfloat16, the high halves of f32, exactly.
    fn load_bf16(self, x: &[u16; 16]) -> Self::F;
    /// Rounded to nearest even; what does not fit becomes an infinity.
    fn to_f16(self, x: Self::F) -> [u16; 16];
    /// The low half of every lane, read as an IEEE half.
    fn low_f16(self, x: Self::I) -> Self::F;
    /// The high half of every lane, read as an IEEE half.
    #[inline(always)]
    fn high_f16(self, x: Self::I) -> Self::F {
        self.low_f16(self.shr::<16>(x))
    }

    fn splat_i(self, x: i32) -> Self::I;
    fn load_i(self, x: &[u32; 16]) -> Self::I;
    fn to_array_i(self, x: Self::I) -> [u32; 16];
    /// Sixteen i8, each widened to its lane.
    fn load_i8(self, x: &[i8; 16]) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// Each lane shifted left by `N` bits.
    fn shl<const N: u32>(self, a: Self::I) -> Self::I;
    /// Each lane shifted right by `N` bits, zeros coming in.
    fn shr<const N: u32>(self, a: Self::I) -> Self::I;
    /// Of two bfloat16 in each lane, those that are subnormal replaced by zeros.
    fn normal_bf16(self, a: Self::I) -> Self::I;
    /// The low byte of every lane.
    fn to_i8(self, a: Self::I) -> [i8; 16];
    /// The low bytes of all lanes of each, and the sums of these.
    fn low_bytes(self, x: [Self::I; 4]) -> ([[i8; 16]; 4], [i32; 4]);
    /// The lanes as f32, rounded to nearest even.
    fn to_f32(self, a: Self::I) -> Self::F;
    /// The same bits.
    fn as_f32(self, a: Self::I) -> Self::F;
    /// The same bits.
    fn as_i32(self, a: Self::F) -> Self::I;
    /// Every byte, which must be below 16, replaced by its entry.
    fn lookup(self, table: &[i8; 16], index: Self::I) -> Self::I;

    /// Adds to each lane the exact dot product of its four bytes, each 0 to 127 (where lanes are [`Simd::DOTS`], 255),
    /// with those of `x`.
    fn dot4(self, acc: Self::I, w: Self::I, x: Self::I) -> Self::I;
    /// For lanes that are not [`Simd::DOTS`]: adds to the two i16 of each lane the sums of its pairs of products.
    #[inline(always)]
    fn pair_sums(self, pairs: Self::I, w: Self::I, x: Self::I) -> Self::I {
        self.dot4(pairs, w, x)
    }
    /// The same integers, about which the compiler knows no more than when: what was computed before a `pinned` is not moved
    /// behind it, where there are few registers. Left to itself, LLVM takes a product apart place by place, and keeps on the
    /// stack what the places share.
    #[inline(always)]
    fn pinned(self, x: Self::I) -> Self::I {
        x
    }
    /// The same integers: what is needed later is not loaded before them, and they are not computed later. Left to
    /// itself, LLVM begins the dot products of all rows before it ends any: it asks for all bytes at once, and has too
    /// few registers.
    #[inline(always)]
    fn settled(self, x: Self::I) -> Self::I {
        x
    }
    /// Adds to each lane what its two i16 are together, from 0 and [`Simd::pair_sums`] of which none left them.
    #[inline(always)]
    fn add_pair_sums(self, acc: Self::I, pairs: Self::I) -> Self::I {
        self.add_i(acc, pairs)
    }
    /// Signed bytes in the form that [`Simd::dot4_wide`] takes.
    fn wide(self, w: Self::I) -> Self::I;
    /// Adds to each lane the exact dot product of its four bytes, in the form made by [`Simd::wide`], with those of
    /// `x` (-127 to 127), plus [`Simd::WIDE_OFFSET`] times the sum of `x`.
    fn dot4_wide(self, acc: Self::I, w: Self::I, x: Self::I) -> Self::I;

    /// Sixteen bytes from each of sixteen places, transposed: lane `4f + 2m + n` of result `g` holds bytes `4g..4g + 4`
    /// from `base + f * far + m * middle + n * near` on; `strides` are near, middle and far.
    ///
    /// # Safety
    /// All sixteen times sixteen bytes are readable.
    unsafe fn load_rows(self, base: *const u8, strides: [usize; 3]) -> [Self::I; 4];

    /// Four bytes from each of these places, in the same lanes.
    ///
    /// # Safety
    /// All sixteen times four bytes are readable, and twelve more of each: behind them, or if they are `last`, before.
    #[inline(always)]
    unsafe fn load_dwords(self, base: *const u8, strides: [usize; 3], _last: bool) -> Self::I {
        let mut dwords = [0; 16];
        for (lane, dword) in dwords.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            *dword = u32::from_le_bytes(unsafe { base.add(offset(strides, lane)).cast::<[u8; 4]>().read() });
        }
        self.load_i(&dwords)
    }

    /// Two bytes likewise, read as an IEEE half.
    ///
    /// # Safety
    /// All sixteen times two bytes are readable, and fourteen more of each: behind them, or if they are `last`, before.
    #[inline(always)]
    unsafe fn load_halves(self, base: *const u8, strides: [usize; 3], _last: bool) -> Self::F {
        let mut halves = [0; 16];
        for (lane, half) in halves.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            *half = u16::from_le_bytes(unsafe { base.add(offset(strides, lane)).cast::<[u8; 2]>().read() });
        }
        self.load_f16(&halves)
    }

    /// The same from each of these places and from three that follow it, each `apart` bytes after the one before, 16 or
    /// more.
    ///
    /// # Safety
    /// `4 * apart` bytes are readable in all sixteen places.
    #[inline(always)]
    unsafe fn load_four_halves(self, base: *const u8, strides: [usize; 3], apart: usize) -> [Self::F; 4] {
        // SAFETY: the caller's contract.
        unsafe { load_four_halves(self, base, strides, apart) }
    }

    // What products of eight bits by eight take as numbers of sixteen, where lanes are not [`Simd::DOTS`].

    /// The four signed bytes of each lane as i16, two in a lane: the first and the third, then the second and the last.
    #[inline(always)]
    fn even_odd(self, x: Self::I) -> [Self::I; 2] {
        let bytes = self.to_array_i(x).map(u32::to_le_bytes);
        let wide = |byte: u8| u32::from(i16::from(byte as i8) as u16);
        [0, 1].map(|i| self.load_i(&bytes.map(|x| wide(x[i]) | wide(x[i + 2]) << 16)))
    }
    /// Adds to each lane the dot product of its two i16 with those of `x`.
    #[inline(always)]
    fn dot2(self, acc: Self::I, w: Self::I, x: Self::I) -> Self::I {
        let product = |w: u32, x: u32| i32::from(w as i16) * i32::from(x as i16);
        let (w, x) = (self.to_array_i(w), self.to_array_i(x));
        let dot = |i: usize| product(w[i], x[i]).wrapping_add(product(w[i] >> 16, x[i] >> 16)) as u32;
        self.add_i(acc, self.load_i(&std::array::from_fn(dot)))
    }

    // What lanes that hold pairs of neighbours need, where there are `PAIRS`.

    /// Two numbers, eight times.
    #[inline(always)]
    fn splat2(self, x: [f32; 2]) -> Self::F {
        self.load(&std::array::from_fn(|i| x[i % 2]))
    }
    /// Two integers, eight times.
    #[inline(always)]
    fn splat2_i(self, x: [i32; 2]) -> Self::I {
        self.load_i(&std::array::from_fn(|i| x[i % 2] as u32))
    }
    /// Every even lane exchanged with the next one.
    #[inline(always)]
    fn swap(self, x: Self::F) -> Self::F {
        let x = self.to_array(x);
        self.load(&std::array::from_fn(|i| x[i ^ 1]))
    }
    /// Every odd lane shifted right by `N` bits, zeros coming in.
    #[inline(always)]
    fn shr_odd<const N: u32>(self, a: Self::I) -> Self::I {
        let a = self.to_array_i(a);
        self.load_i(&std::array::from_fn(|i| a[i] >> (i as u32 % 2 * N)))
    }
    /// The sums of neighbours: those of lanes `2i` and `2i + 1` of `a` in lane `2i`, of `b` in the next.
    #[inline(always)]
    fn add_neighbours(self, a: Self::I, b: Self::I) -> Self::I {
        let both = [self.to_array_i(a), self.to_array_i(b)];
        self.load_i(&std::array::from_fn(|i| both[i % 2][i & !1].wrapping_add(both[i % 2][i | 1])))
    }

    /// [`float::part`], in an order that needs few registers.
    #[inline(always)]
    fn part<W: Float<Self>, const R: usize, const T: usize>(
        self,
        chains: [[Self::F; T]; R],
        rows: [&W::Weights; R],
        x: [&W::Activations; T],
        part: usize,
    ) -> [[Self::F; T]; R] {
        float::part::<Self, W, R, T>(self, chains, rows, x, part)
    }

    // What quarters of registers need, lanes `4q..4q + 4`.

    /// Sixteen bytes from each of these places behind `base`.
    ///
    /// # Safety
    /// They are readable, and what lies between them.
    #[inline(always)]
    unsafe fn load_quarters(self, base: *const u8, at: [usize; 4]) -> Self::I {
        let mut quarters = [[0; 16]; 4];
        for (quarter, at) in quarters.iter_mut().zip(at) {
            // SAFETY: the caller's contract.
            *quarter = unsafe { base.add(at).cast::<[u8; 16]>().read() };
        }
        self.load_i(bytemuck::cast_ref(&quarters))
    }
    /// Of the sixty-four bytes at `at`, the first quarter and the third, each twice, or with `second` the second and
    /// the last.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn load_halves_twice(self, base: *const u8, at: usize, second: bool) -> Self::I {
        let [first, last] = if second { [at + 16, at + 48] } else { [at, at + 32] };
        // SAFETY: the caller's contract.
        unsafe { self.load_quarters(base, [first, first, last, last]) }
    }
    /// The lanes of each quarter shifted left by so many bits, zeros coming in.
    #[inline(always)]
    fn shl_quarters(self, a: Self::I, n: [u32; 4]) -> Self::I {
        let a = self.to_array_i(a);
        self.load_i(&std::array::from_fn(|i| a[i] << n[i / 4]))
    }
    /// Or right.
    #[inline(always)]
    fn shr_quarters(self, a: Self::I, n: [u32; 4]) -> Self::I {
        let a = self.to_array_i(a);
        self.load_i(&std::array::from_fn(|i| a[i] >> n[i / 4]))
    }
    /// `value` in byte `i` of quarter `q` where bit `i` of `bits[q]` is set, otherwise 0; then likewise for bits 16 and up.
    #[inline(always)]
    fn spread_bits(self, bits: [u32; 4], value: u8) -> [Self::I; 2] {
        let byte = |half: usize, i: usize| if bits[i / 16] >> (16 * half + i % 16) & 1 == 1 { value } else { 0 };
        [0, 1].map(|half| {
            let bytes: [u8; 64] = std::array::from_fn(|i| byte(half, i));
            self.load_i(bytemuck::cast_ref(&bytes))
        })
    }
    /// In every quarter, the sums of neighbours: two of `a`, then two of `b`.
    #[inline(always)]
    fn add_in_quarters(self, a: Self::I, b: Self::I) -> Self::I {
        let both = [self.to_array_i(a), self.to_array_i(b)];
        self.load_i(&std::array::from_fn(|i| {
            let (x, at) = (&both[i / 2 % 2], i / 4 * 4 + i % 2 * 2);
            x[at].wrapping_add(x[at + 1])
        }))
    }
    /// The same of lanes that fit into an i16.
    #[inline(always)]
    fn add_in_quarters_16(self, a: Self::I, b: Self::I) -> Self::I {
        self.add_in_quarters(a, b)
    }

    /// Quarter `q` of each in result `q`.
    #[inline(always)]
    fn transpose_quarters(self, x: [Self::I; 4]) -> [Self::I; 4] {
        let mut out = x;
        for (q, out) in out.iter_mut().enumerate() {
            let mut lanes = [0; 16];
            for (i, x) in x.iter().enumerate() {
                lanes[4 * i..4 * i + 4].copy_from_slice(&self.to_array_i(*x)[4 * q..4 * q + 4]);
            }
            *out = self.load_i(&lanes);
        }
        out
    }

    /// Lane `r` of `out[l]` becomes lane `l` of `x[r]`.
    #[inline(always)]
    fn transpose(self, x: &[Self::I; 16], out: &mut [Self::I; 16]) {
        let x = x.map(|x| self.to_array_i(x));
        *out = std::array::from_fn(|l| self.load_i(&x.map(|x| x[l])));
    }

    /// Asks for a cache line to be brought into the second-level cache. Any address will do.
    fn prefetch(self, at: *const u8);
    /// Asks for a cache line to be brought into the first-level cache. Any address will do.
    fn prefetch_near(self, at: *const u8);
    /// Whether weights that are asked for ahead had better come into the first-level cache: on few CPUs without AVX-512.
    #[inline(always)]
    fn weights_near() -> bool {
        false
    }

    /// Asks for so many cache lines to be brought into the first-level cache or the second.
    #[inline(always)]
    fn prefetch_lines(self, first: *const u8, count: usize, near: bool) {
        for line in 0..count {
            let line = first.wrapping_add(64 * line);
            if near { self.prefetch_near(line) } else { self.prefetch(line) }
        }
    }

    /// Both halves of four bits of every byte: the low ones, then the high ones.
    #[inline(always)]
    fn nibbles(self, x: Self::I) -> (Self::I, Self::I) {
        let mask = self.splat_i(0x0f0f_0f0f);
        (self.and(x, mask), self.and(self.shr::<4>(x), mask))
    }

    /// Bits `N` and up of every byte, as many as `mask` has, which is repeated in every byte.
    #[inline(always)]
    fn bits<const N: u32>(self, x: Self::I, mask: u8) -> Self::I {
        self.and(self.shr::<N>(x), self.splat_i(i32::from_ne_bytes([mask; 4])))
    }

    /// Byte `N / 8` of every lane as a number from 0 to 255.
    #[inline(always)]
    fn byte<const N: u32>(self, x: Self::I) -> Self::F {
        self.to_f32(self.and(self.shr::<N>(x), self.splat_i(0xff)))
    }

    /// The sum of all lanes by one fixed tree: lane i with lane i + 8, then + 4, + 2, + 1.
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        fold(self.to_array(x), |a, b| a + b)
    }

    /// [`Simd::sum`] of each.
    #[inline(always)]
    fn sum4(self, x: [Self::F; 4]) -> [f32; 4] {
        [self.sum(x[0]), self.sum(x[1]), self.sum(x[2]), self.sum(x[3])]
    }

    /// The greatest of all lanes, by the same tree.
    #[inline(always)]
    fn greatest(self, x: Self::F) -> f32 {
        fold(self.to_array(x), |a, b| if a > b { a } else { b })
    }

    /// [`Simd::greatest`] of each.
    fn greatest4(self, x: [Self::F; 4]) -> [f32; 4];
}

/// Where [`Simd::load_rows`] and its like find a lane's bytes.
#[inline(always)]
pub(crate) fn offset([near, middle, far]: [usize; 3], lane: usize) -> usize {
    lane / 4 * far + lane / 2 % 2 * middle + lane % 2 * near
}

/// [`Simd::load_four_halves`], one after the other.
///
/// # Safety
/// As for that.
#[inline(always)]
pub(crate) unsafe fn load_four_halves<S: Simd>(s: S, base: *const u8, strides: [usize; 3], apart: usize) -> [S::F; 4] {
    let mut all = [s.splat(0.0); 4];
    for (k, all) in all.iter_mut().enumerate() {
        // SAFETY: the caller's contract.
        *all = unsafe { s.load_halves(base.add(k * apart), strides, false) };
    }
    all
}

/// Asks for the cache lines of something that is to be written next, to be brought into the first-level cache and taken
/// from other cores. Any address will do.
#[inline(always)]
pub(crate) fn prefetch_write<T>(at: *const T) {
    for line in 0..size_of::<T>().div_ceil(64) {
        let line = at.cast::<u8>().wrapping_add(64 * line);
        #[cfg(target_arch = "x86_64")]
        super::x86_64::prefetch_write(line);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// What [`Simd::call`] runs.
pub(crate) trait Task<S> {
    /// Must be `inline(always)`.
    fn run(self, s: S);
}

/// Folds sixteen lanes by the fixed tree of [`Simd::sum`].
#[inline(always)]
fn fold(mut x: [f32; 16], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            x[i] = f(x[i], x[i + half]);
        }
        half /= 2;
    }
    x[0]
}
