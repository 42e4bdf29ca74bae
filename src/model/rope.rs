//! Rotary position embedding (Su et al., 2021, arXiv:2104.09864).

use crate::{Error, Result};

use super::params::Keys;
use super::weights::Loader;

/// The angle a position turns each pair of dimensions by.
#[derive(Debug)]
pub(super) struct Rope {
    /// Radians a position, by pair: `n_rot / 2` of them. Dimensions beyond the pairs are left alone.
    frequency: Vec<f64>,
}

impl Rope {
    /// From `rope.*` metadata and, for Llama 3.1 and later, the tensor `rope_freqs.weight` of divisors.
    pub fn read(keys: &Keys, loader: &Loader, head_dim: usize) -> Result<Self> {
        let n_rot = keys.size_or("rope.dimension_count", head_dim)?;
        if n_rot > head_dim || n_rot % 2 == 1 {
            let expected = format!("an even number of at most {head_dim}");
            return Err(keys.bad("rope.dimension_count", n_rot.to_string(), expected));
        }
        let base = f64::from(keys.positive_or("rope.freq_base", 10_000.0)?);
        let scale = match keys.text("rope.scaling.type")? {
            None | Some("linear") => {
                let old = keys.positive_or("rope.scale_linear", 1.0)?;
                f64::from(keys.positive_or("rope.scaling.factor", old)?)
            }
            Some("none") => 1.0,
            Some(other) => {
                return Err(Error::Unsupported {
                    file: keys.gguf.name().to_owned(),
                    what: "RoPE scaling",
                    found: other.to_owned(),
                    supported: "none, linear, and the divisors in `rope_freqs.weight`".to_owned(),
                });
            }
        };
        let pairs = n_rot / 2;
        let divisors = match keys.gguf.tensor("rope_freqs.weight") {
            Some(_) => loader.vector("rope_freqs.weight", pairs)?,
            None => vec![1.0; pairs],
        };
        // The `libm` crate, not the platform's functions: every CPU turns by the same angles.
        let frequency =
            |(i, divisor): (usize, f32)| libm::pow(base, -2.0 * i as f64 / n_rot as f64) / (scale * f64::from(divisor));
        Ok(Self { frequency: divisors.into_iter().enumerate().map(frequency).collect() })
    }

    /// Cosine and sine for every pair at `position`.
    pub fn turns(&self, position: usize) -> impl Iterator<Item = [f32; 2]> {
        self.frequency.iter().map(move |frequency| {
            let (sin, cos) = libm::sincos(position as f64 * frequency);
            [cos as f32, sin as f32]
        })
    }
}

/// Turns a head's adjacent pairs (2i, 2i + 1).
pub(super) fn rotate(head: &mut [f32], turns: &[[f32; 2]]) {
    for (pair, [cos, sin]) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
        let [a, b] = *pair;
        *pair = [a * cos - b * sin, a * sin + b * cos];
    }
}
