//! The most likely tokens with their probabilities, for those who want to show or score them.

use super::candidates::{self, Candidate};
use crate::{Error, Result, Token};

/// The `n` most likely tokens (fewer if there are fewer logits), the most likely first, the lower id first among
/// equals, each with the natural logarithm of its probability: its logit minus log(sum of exp(logit)) over all logits.
///
/// A NaN logit counts as negative infinity; such tokens come last, with negative infinity. The vocabulary is not sorted.
/// The arithmetic is the sampler's: the same result on every CPU.
///
/// # Errors
/// [`Error::NoMemory`].
///
/// ```
/// let top = pumice::sample::top_logprobs(&[0.0, 2.0, 0.0], 2)?;
/// assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 0]);
/// assert!((top[0].1 - (2.0 - (2.0 + 2f32.exp()).ln())).abs() < 1e-6);
/// # Ok::<(), pumice::Error>(())
/// ```
pub fn top_logprobs(logits: &[f32], n: usize) -> Result<Vec<(Token, f32)>> {
    let n = n.min(logits.len());
    if n == 0 {
        return Ok(Vec::new());
    }
    let no_memory = |_| Error::NoMemory { bytes: n * size_of::<Candidate>(), what: "the most likely tokens" };
    let (mut best, mut top) = (Vec::new(), Vec::new());
    best.try_reserve_exact(n.saturating_mul(2).min(logits.len())).map_err(no_memory)?;
    top.try_reserve_exact(n).map_err(no_memory)?;

    candidates::top_k(logits, n, &mut best);
    let Some(max) = best.first().map(Candidate::logit) else {
        top.extend((0..n).map(|token| (token as Token, f32::NEG_INFINITY)));
        return Ok(top);
    };
    let logprobs = LogProbs::with_max(logits, max);
    top.extend(best.iter().map(|c| (c.token(), logprobs.of_logit(c.logit()) as f32)));
    let impossible = |(_, logit): &(Token, &f32)| logit.is_nan() || **logit == f32::NEG_INFINITY;
    let rest = (0..=Token::MAX).zip(logits).filter(impossible).take(n - top.len());
    top.extend(rest.map(|(token, _)| (token, f32::NEG_INFINITY)));
    Ok(top)
}

/// The logarithms of the probabilities that some logits stand for: each logit minus log(sum of exp(logit)).
pub struct LogProbs<'a> {
    logits: &'a [f32],
    max: f32,
    log_sum: f64,
}

impl<'a> LogProbs<'a> {
    /// Of all tokens, one logit each. A NaN logit counts as negative infinity.
    pub fn of(logits: &'a [f32]) -> Self {
        // f32::max takes the other one where one is NaN.
        Self::with_max(logits, logits.iter().copied().fold(f32::NEG_INFINITY, f32::max))
    }

    fn with_max(logits: &'a [f32], max: f32) -> Self {
        // In double precision: a hundred thousand small terms are lost beside a large one otherwise.
        let sum: f64 = logits.iter().filter(|logit| !logit.is_nan()).map(|logit| share(*logit, max)).sum();
        Self { logits, max, log_sum: libm::log(sum) }
    }

    /// The natural logarithm of a token's probability; negative infinity for one that there is no logit of.
    pub fn of_token(&self, token: Token) -> f64 {
        match self.logits.get(token as usize) {
            Some(logit) if !logit.is_nan() && *logit != f32::NEG_INFINITY => self.of_logit(*logit),
            _ => f64::NEG_INFINITY,
        }
    }

    fn of_logit(&self, logit: f32) -> f64 {
        if logit == self.max { -self.log_sum } else { f64::from(logit) - f64::from(self.max) - self.log_sum }
    }
}

/// exp(logit - max). Infinite logits share everything among them.
fn share(logit: f32, max: f32) -> f64 {
    if logit == max { 1.0 } else { f64::from(libm::expf(logit - max)) }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    const INF: f32 = f32::INFINITY;

    /// The plain way: sort everything.
    fn naive(logits: &[f32], n: usize) -> Vec<(Token, f64)> {
        let clean = |x: &f32| if x.is_nan() { f64::NEG_INFINITY } else { f64::from(*x) };
        let max = logits.iter().map(clean).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|x| (clean(x) - max).exp()).sum();
        let mut all: Vec<_> = logits.iter().enumerate().map(|(i, x)| (i as Token, clean(x) - max - sum.ln())).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(n);
        all
    }

    #[test]
    fn it_is_the_head_of_the_sorted_log_softmax() {
        let mut random = Random::new(5);
        for len in [1, 2, 7, 100, 5000] {
            // Few different values, so that there are many ties.
            let mut logits: Vec<f32> = (0..len).map(|_| (random.uniform() * 40.0).floor() as f32 - 20.0).collect();
            if len == 100 {
                logits[3] = f32::NAN;
                logits[50] = -INF;
            }
            for n in [0, 1, 2, 5, 99, 100, len, len + 1, usize::MAX] {
                let (found, expected) = (top_logprobs(&logits, n).unwrap(), naive(&logits, n));
                assert_eq!(found.len(), n.min(len));
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(found.0, expected.0, "{n} of {len}");
                    let near = (f64::from(found.1) - expected.1).abs() < 1e-5;
                    assert!(near || f64::from(found.1) == expected.1, "{found:?}, expected {expected:?}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_comes_last() {
        let nan = f32::NAN;
        let found = top_logprobs(&[nan, 1.0, -INF, 1.0], 4).unwrap();
        let half = -std::f32::consts::LN_2;
        assert_eq!(found, [(1, half), (3, half), (0, -INF), (2, -INF)]);
        assert_eq!(top_logprobs(&[nan, -INF], 9).unwrap(), [(0, -INF), (1, -INF)]);
        assert_eq!(top_logprobs(&[0.0, INF, INF], 3).unwrap(), [(1, half), (2, half), (0, -INF)]);
        assert_eq!(top_logprobs(&[], 3).unwrap(), []);
    }
}
