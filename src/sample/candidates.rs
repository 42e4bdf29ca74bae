//! The tokens that may still be drawn: selection and the draw, without sorting a vocabulary.

use std::cmp::Ordering;

use crate::Token;

/// One token that may be drawn. Its logit is above negative infinity, and never NaN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    token: Token,
    logit: f32,
    /// What [`draw`] makes of the logit: proportional to the probability.
    weight: f32,
}

impl Candidate {
    pub(super) fn token(&self) -> Token {
        self.token
    }

    pub(super) fn logit(&self) -> f32 {
        self.logit
    }
}

/// More likely first, the lower id first among equals: with it, every selection and every sort has one outcome.
fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.token.cmp(&b.token))
}

/// The first of the largest logits; `None` if all are negative infinity or NaN.
pub(super) fn argmax(logits: &[f32]) -> Option<Token> {
    let (mut best, mut found) = (f32::NEG_INFINITY, None);
    for (token, &logit) in (0..=Token::MAX).zip(logits) {
        if logit > best {
            (best, found) = (logit, Some(token));
        }
    }
    found
}

/// Replaces `out` by the `k` most likely tokens by rank, or for a `k` of 0 by all tokens in the order of their ids.
///
/// Logits of negative infinity and NaN never become candidates.
pub(super) fn top_k(logits: &[f32], k: usize, out: &mut Vec<Candidate>) {
    out.clear();
    let k = if k == 0 { usize::MAX } else { k };
    // `out` takes whatever may still be among the best `k`. When it holds twice as many, the worse half goes, and the
    // worst that stays raises the floor: soon few logits pass it. Strictly above is right, because an equal logit
    // further on has a higher id.
    let mut floor = f32::NEG_INFINITY;
    for (token, &logit) in (0..=Token::MAX).zip(logits) {
        if logit > floor {
            out.push(Candidate { token, logit, weight: 0.0 });
            if out.len() / 2 >= k {
                floor = out.select_nth_unstable_by(k - 1, by_rank).1.logit;
                out.truncate(k);
            }
        }
    }
    if k < usize::MAX {
        out.sort_unstable_by(by_rank);
        out.truncate(k);
    }
}

/// Keeps the candidates that pass `top_p`, then `min_p`; both in range or off (1 and 0).
///
/// Both keep the best by rank down to some point, so it does not matter which cuts first, as long as `top_p` means
/// its share of all that came in: the cheap cut is made first, and only what it leaves is ranked.
pub(super) fn top_p_min_p(candidates: &mut Vec<Candidate>, top_p: f32, min_p: f32) {
    let max = max_logit(candidates);
    let share = (top_p < 1.0).then(|| {
        let total: f64 = candidates.iter().map(|c| f64::from(weight(c, max, 1.0))).sum();
        f64::from(top_p) * total
    });
    if min_p > 0.0 {
        let floor = max + libm::logf(min_p);
        candidates.retain(|c| c.logit >= floor);
    }
    if let Some(share) = share {
        truncate_at(candidates, share, max);
    }
}

/// Keeps the fewest best candidates, at least one, whose weights add up to `share`; all if they never do.
fn truncate_at(candidates: &mut Vec<Candidate>, share: f64, max: f32) {
    let (mut kept, mut sum) = (0, 0.0);
    // Ranks a few at a time: usually a handful is enough, even if the whole vocabulary came in.
    let mut step = 64;
    while kept < candidates.len() {
        let rest = &mut candidates[kept..];
        let n = rest.len().min(step);
        if n < rest.len() {
            rest.select_nth_unstable_by(n - 1, by_rank);
        }
        rest[..n].sort_unstable_by(by_rank);
        for c in &rest[..n] {
            sum += f64::from(weight(c, max, 1.0));
            kept += 1;
            if sum >= share {
                candidates.truncate(kept);
                return;
            }
        }
        step = step.saturating_mul(4);
    }
}

/// Draws a candidate with the probabilities of the softmax at `temperature`, above 0; `uniform` is in `[0, 1)`.
/// `None` if there are no candidates.
pub(super) fn draw(candidates: &mut [Candidate], temperature: f32, uniform: f64) -> Option<Token> {
    let max = max_logit(candidates);
    let mut total = 0.0;
    for c in candidates.iter_mut() {
        c.weight = weight(c, max, temperature);
        total += f64::from(c.weight);
    }
    // The target stays below the total even after rounding, because `uniform` is at most 1 - 2^-53. So the sum, which
    // ends at the very same total, passes it, and it does so at a candidate whose weight is not 0.
    let target = uniform * total;
    let mut sum = 0.0;
    let passes = |c: &&Candidate| {
        sum += f64::from(c.weight);
        sum > target
    };
    candidates.iter().find(passes).map(|c| c.token)
}

fn max_logit(candidates: &[Candidate]) -> f32 {
    candidates.iter().fold(f32::NEG_INFINITY, |max, c| if c.logit > max { c.logit } else { max })
}

/// `exp((logit - max) / temperature)` with the software `expf`: the platforms' own differ in the last bit. Infinite
/// logits share everything among them.
fn weight(c: &Candidate, max: f32, temperature: f32) -> f32 {
    if c.logit == max { 1.0 } else { libm::expf((c.logit - max) / temperature) }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    const INF: f32 = f32::INFINITY;

    fn all(logits: &[f32]) -> Vec<Candidate> {
        let mut out = Vec::new();
        top_k(logits, 0, &mut out);
        out
    }

    fn tokens(candidates: &[Candidate]) -> Vec<Token> {
        candidates.iter().map(|c| c.token).collect()
    }

    /// The plain way: sort everything, then cut.
    fn naive(logits: &[f32], k: usize, top_p: f32, min_p: f32) -> Vec<Token> {
        let mut list = all(logits);
        list.sort_by(by_rank);
        if k > 0 {
            list.truncate(k);
        }
        let max = max_logit(&list);
        if top_p < 1.0 {
            let weights = list.iter().map(|c| f64::from(weight(c, max, 1.0)));
            let share = f64::from(top_p) * weights.clone().sum::<f64>();
            let mut sum = 0.0;
            let reaches = |w: f64| {
                sum += w;
                sum >= share
            };
            let end = weights.map(reaches).position(|reached| reached);
            list.truncate(end.map_or(list.len(), |end| end + 1));
        }
        if min_p > 0.0 {
            list.retain(|c| c.logit >= max + libm::logf(min_p));
        }
        tokens(&list)
    }

    /// Logits with many ties, some missing.
    fn logits(n: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        let mut logit = || match random.uniform() {
            u if u < 0.05 => f32::NAN,
            u if u < 0.10 => -INF,
            u => (u * 64.0).floor() as f32 / 8.0 - 4.0,
        };
        (0..n).map(|_| logit()).collect()
    }

    #[test]
    fn selection_keeps_what_sorting_everything_would() {
        let mut list = Vec::new();
        for n in [1, 2, 40, 1000] {
            for seed in 0..8 {
                let logits = logits(n, seed);
                for k in [0, 1, 2, 3, 40, 500, 5000, usize::MAX] {
                    for top_p in [0.0, 0.1, 0.5, 0.9, 0.999, 1.0] {
                        for min_p in [0.0, 0.01, 0.5, 1.0] {
                            top_k(&logits, k, &mut list);
                            top_p_min_p(&mut list, top_p, min_p);
                            let mut expected = naive(&logits, k, top_p, min_p);
                            if matches!(k, 0 | usize::MAX) && top_p == 1.0 {
                                expected.sort_unstable(); // nothing had to be ranked
                            }
                            assert_eq!(tokens(&list), expected, "n {n}, k {k}, top_p {top_p}, min_p {min_p}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rising_and_falling_logits_keep_the_right_ones() {
        let mut list = Vec::new();
        let rising: Vec<f32> = (0..100).map(|i| i as f32).collect();
        top_k(&rising, 3, &mut list);
        assert_eq!(tokens(&list), [99, 98, 97]);
        let falling: Vec<f32> = (0..100).map(|i| -i as f32).collect();
        top_k(&falling, 3, &mut list);
        assert_eq!(tokens(&list), [0, 1, 2]);
        top_k(&[0.0, -0.0, 0.0, -0.0], 2, &mut list);
        assert_eq!(tokens(&list), [0, 1], "zeros are equal, whatever their sign");
    }

    #[test]
    fn top_p_stops_at_the_token_that_reaches_it() {
        // The shares are 1/4, 1/2, 1/8, 1/8.
        let logits = [0.25, 0.5, 0.125, 0.125].map(libm::logf);
        let keep = |top_p| {
            let mut list = all(&logits);
            top_p_min_p(&mut list, top_p, 0.0);
            tokens(&list)
        };
        assert_eq!(keep(0.0), [1]);
        assert_eq!(keep(0.49), [1]);
        assert_eq!(keep(0.51), [1, 0]);
        assert_eq!(keep(0.74), [1, 0]);
        assert_eq!(keep(0.76), [1, 0, 2]);
        assert_eq!(keep(0.9), [1, 0, 2, 3]);
        assert_eq!(keep(1.0), [0, 1, 2, 3], "off: nothing is ranked");
    }

    #[test]
    fn top_p_is_a_share_of_what_top_k_left_and_not_of_what_min_p_leaves() {
        let logits = [0.4, 0.2, 0.2, 0.1, 0.1].map(libm::logf);
        let mut list = Vec::new();
        top_k(&logits, 2, &mut list); // leaves 2/3 and 1/3
        top_p_min_p(&mut list, 0.66, 0.0);
        assert_eq!(tokens(&list), [0]);
        top_k(&logits, 0, &mut list);
        // 0.4 + 0.2 + 0.2 reach 0.7 of everything; of the three that are above 0.45 * 0.4, two would.
        top_p_min_p(&mut list, 0.7, 0.45);
        assert_eq!(tokens(&list), [0, 1, 2]);
    }

    #[test]
    fn infinite_logits_win_and_nothing_yields_nothing() {
        let mut list = all(&[1.0, INF, 2.0, INF]);
        assert_eq!(draw(&mut list, 1.0, 0.0), Some(1));
        assert_eq!(draw(&mut list, 1.0, 0.49), Some(1));
        assert_eq!(draw(&mut list, 1.0, 0.51), Some(3));
        top_p_min_p(&mut list, 0.9, 0.1);
        assert_eq!(tokens(&list), [1, 3]);
        assert_eq!(draw(&mut [], 1.0, 0.5), None);
        assert_eq!(argmax(&[f32::NAN, -INF]), None);
        assert_eq!(argmax(&[f32::NAN, -INF, -3.0, 1.0, 1.0]), Some(3));
    }

    #[test]
    fn the_largest_uniform_still_finds_a_token_with_weight() {
        let almost_one = 1.0 - f64::EPSILON / 2.0;
        for n in 1..200 {
            let mut logits = logits(n, n as u64);
            logits.extend([0.0, -1e9, -1e9]); // the weights of the last two are 0
            let token = draw(&mut all(&logits), 0.7, almost_one).unwrap() as usize;
            assert!(token <= n && logits[token] > -5.0);
        }
    }
}
