//! The whole sampler: what it draws, and that it always draws the same.

use super::*;

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// Everything off, temperature 1.
fn plain() -> SamplerOptions {
    SamplerOptions { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplerOptions::default() }
}

fn sampler(options: SamplerOptions) -> Sampler {
    Sampler::new(&options).unwrap()
}

/// Draws 40,000 tokens; every share must be within four standard deviations of its probability.
fn assert_shares<const N: usize>(sampler: &mut Sampler, logits: [f32; N], expected: [f64; N]) {
    const DRAWS: usize = 40_000;
    let mut counts = [0usize; N];
    for _ in 0..DRAWS {
        counts[sampler.sample(&logits).unwrap() as usize] += 1;
    }
    for (token, (count, p)) in counts.into_iter().zip(expected).enumerate() {
        let deviation = (p * (1.0 - p) / DRAWS as f64).sqrt();
        let share = count as f64 / DRAWS as f64;
        assert!((share - p).abs() <= 4.0 * deviation, "token {token}: {share}, expected {p}");
    }
}

#[test]
fn draws_follow_the_softmax() {
    let logits = [0.1, 0.2, 0.3, 0.4].map(libm::logf);
    assert_shares(&mut sampler(plain()), logits, [0.1, 0.2, 0.3, 0.4]);
    let cool = SamplerOptions { temperature: 0.5, seed: 1, ..plain() };
    // The squares, divided by their sum of 0.3.
    assert_shares(&mut sampler(cool), logits, [1.0, 4.0, 9.0, 16.0].map(|square| square / 30.0));
    let hot = SamplerOptions { temperature: 1e30, seed: 2, ..plain() };
    assert_shares(&mut sampler(hot), [-100.0, 0.0, 100.0, -INF], [1.0, 1.0, 1.0, 0.0].map(|x| x / 3.0));
    let cold = SamplerOptions { temperature: 1e-30, ..plain() };
    assert_shares(&mut sampler(cold), logits, [0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn draws_follow_what_the_filters_leave() {
    let logits = [0.1, 0.2, 0.3, 0.4].map(libm::logf);
    let top_k = SamplerOptions { top_k: 2, ..plain() };
    assert_shares(&mut sampler(top_k), logits, [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
    let top_p = SamplerOptions { top_p: 0.85, ..plain() };
    assert_shares(&mut sampler(top_p), logits, [0.0, 2.0 / 9.0, 3.0 / 9.0, 4.0 / 9.0]);
    let min_p = SamplerOptions { min_p: 0.6, ..plain() };
    assert_shares(&mut sampler(min_p), logits, [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
    let biased = SamplerOptions { logit_bias: vec![(3, -INF), (0, libm::logf(2.0)), (1, 0.0)], ..plain() };
    assert_shares(&mut sampler(biased), logits, [2.0 / 7.0, 2.0 / 7.0, 3.0 / 7.0, 0.0]);
    assert_shares(&mut sampler(plain()), [NAN, 0.0, 0.0, 0.0], [0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
    assert_shares(&mut sampler(plain()), [INF, 0.0, NAN, INF], [0.5, 0.0, 0.0, 0.5]);
}

#[test]
fn filters_come_before_the_temperature() {
    // At temperature 1 the shares are 8/15, 4/15, 2/15, 1/15; at 100 they would be all alike.
    let logits = [8.0, 4.0, 2.0, 1.0].map(libm::logf);
    let options = SamplerOptions { temperature: 1e30, top_p: 0.75, ..plain() };
    assert_shares(&mut sampler(options), logits, [0.5, 0.5, 0.0, 0.0]);
    let options = SamplerOptions { temperature: 1e30, min_p: 0.2, ..plain() };
    assert_shares(&mut sampler(options), logits, [1.0, 1.0, 1.0, 0.0].map(|x| x / 3.0));
}

#[test]
fn penalties_shift_the_shares_of_accepted_tokens() {
    let half = libm::logf(2.0);
    let mut s = sampler(SamplerOptions { presence_penalty: half, frequency_penalty: half, ..plain() });
    [1, 1, 2].iter().for_each(|t| s.accept(*t));
    assert_shares(&mut s, [0.0; 3], [8.0, 1.0, 2.0].map(|x| x / 11.0));
}

#[test]
fn greedy_takes_the_first_maximum_after_bias_and_penalties() {
    let mut s = sampler(SamplerOptions::greedy());
    assert_eq!(s.sample(&[1.0, 3.0, 3.0, NAN]).unwrap(), 1);
    assert_eq!(s.sample(&[-INF, NAN, -9.0]).unwrap(), 2);
    assert_eq!(s.sample(&[0.0, INF, INF]).unwrap(), 1);

    let mut s = sampler(SamplerOptions {
        repeat_penalty: 2.0,
        logit_bias: vec![(0, 1.0), (2, -INF)],
        ..SamplerOptions::greedy()
    });
    let logits = [1.75, 2.5, 9.0, 1.5];
    assert_eq!(s.sample(&logits).unwrap(), 0, "2.75 with its bias");
    s.accept(0);
    assert_eq!(s.sample(&logits).unwrap(), 1, "0 is halved, bias and all");
    s.accept(1);
    assert_eq!(s.sample(&logits).unwrap(), 3);
    s.reset();
    assert_eq!(s.sample(&logits).unwrap(), 0);
}

#[test]
fn the_sequence_of_a_seed_is_pinned() {
    // Logits from integers, so that nothing but the sampler decides. The expected tokens
    // are from a plain f64 computation in Python. A change here changes every user's text.
    let logits: Vec<f32> = (0..1000u32).map(|i| (i * 7919 % 1009) as f32 / 128.0).collect();
    let draws = |options: SamplerOptions| {
        let mut s = sampler(options);
        [(); 8].map(|()| {
            let token = s.sample(&logits).unwrap();
            s.accept(token);
            token
        })
    };
    assert_eq!(draws(SamplerOptions { seed: 42, ..plain() }), [746, 159, 278, 343, 34, 864, 218, 798]);
    assert_eq!(draws(SamplerOptions { seed: 42, ..SamplerOptions::default() }), [475, 554, 587, 99, 521, 20, 66, 752]);
    let penalised = SamplerOptions { seed: 42, repeat_penalty: 1.3, top_k: 3, ..SamplerOptions::default() };
    assert_eq!(draws(penalised), [277, 765, 521, 798, 33, 66, 554, 587]);
}

#[test]
fn clones_and_resets_repeat_a_sequence() {
    let logits: Vec<f32> = (0..100).map(|i| (i % 10) as f32 / 4.0).collect();
    let run = |s: &mut Sampler| {
        [(); 50].map(|()| {
            let token = s.sample(&logits).unwrap();
            s.accept(token);
            token
        })
    };
    let mut a = sampler(SamplerOptions { seed: 5, presence_penalty: 1.0, ..plain() });
    let first = run(&mut a);
    let mut b = a.clone();
    let second = run(&mut a);
    assert_ne!(first, second);
    assert_eq!(run(&mut b), second);
    a.reset();
    assert_eq!(run(&mut a), first);
    assert_ne!(run(&mut sampler(SamplerOptions { seed: 6, ..a.options().clone() })), first);
}

#[test]
fn a_failed_call_leaves_the_sampler_as_it_was() {
    let mut tried = sampler(plain());
    let mut fresh = tried.clone();
    assert!(matches!(tried.sample(&[]), Err(Error::InvalidArgument { name: "logits", .. })));
    assert!(matches!(tried.sample(&[-INF, NAN]), Err(Error::NoCandidates)));
    let draw = |s: &mut Sampler| [(); 20].map(|()| s.sample(&[0.0; 50]).unwrap());
    assert_eq!(draw(&mut tried), draw(&mut fresh));
}

#[test]
fn impossible_requests_are_named() {
    assert!(matches!(sampler(SamplerOptions::greedy()).sample(&[NAN, -INF]), Err(Error::NoCandidates)));
    let mut s = sampler(SamplerOptions { logit_bias: vec![(2, 1.0)], ..plain() });
    assert!(matches!(s.sample(&[0.0; 2]), Err(Error::TokenOutOfRange { token: 2, n_vocab: 2 })));
    assert!(s.sample(&[0.0; 3]).is_ok());
    let bad = SamplerOptions { temperature: NAN, ..plain() };
    assert!(matches!(Sampler::new(&bad), Err(Error::InvalidArgument { name: "temperature", .. })));
}
