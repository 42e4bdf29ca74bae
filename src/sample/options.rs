//! What a sampler is asked to do, and whether that makes sense.

use crate::{Error, Result, Token};

/// How the next token is chosen. The steps run in the order that [`Sampler`](super::Sampler) documents.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits before the draw; finite, at least 0. 0 is greedy: the most likely token, the lowest id
    /// among equals, and no draw. Default 0.8.
    pub temperature: f32,
    /// Only this many most likely tokens stay; 0 is off. Default 40.
    pub top_k: usize,
    /// Only the fewest most likely tokens whose probabilities add up to this stay, at least one; 0 to 1, 1 is off.
    /// Default 0.95.
    pub top_p: f32,
    /// Only tokens at least this many times as likely as the most likely one stay; 0 to 1, 0 is off. Default 0.05.
    pub min_p: f32,
    /// Divides the positive logits of recent tokens and multiplies the others; finite, above 0, 1 is off. Default 1.
    pub repeat_penalty: f32,
    /// Is subtracted from a token's logit once for each time it is among the recent ones; finite, 0 is off. Default 0.
    pub frequency_penalty: f32,
    /// Is subtracted once from the logit of each recent token; finite, 0 is off. Default 0.
    pub presence_penalty: f32,
    /// How many of the last accepted tokens count as recent; 0 turns the three penalties off. Default 64.
    pub penalty_last_n: usize,
    /// Is added to the logits of these tokens, before everything else. Negative infinity forbids a token; a token
    /// that is listed twice gets both. No NaN. Default empty.
    pub logit_bias: Vec<(Token, f32)>,
    /// Where the random numbers start: the same seed, options and logits give the same tokens, on every CPU.
    /// Default 0.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_last_n: 64,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// The default but for a temperature of 0: always the most likely token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Whether all options are within their ranges.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] with the name of the first option that is not.
    pub fn check(&self) -> Result<()> {
        let probability = |x: f32| (0.0..=1.0).contains(&x);
        check("temperature", self.temperature, |x| x.is_finite() && x >= 0.0, "a finite number, at least 0")?;
        check("top_p", self.top_p, probability, "a number from 0 to 1")?;
        check("min_p", self.min_p, probability, "a number from 0 to 1")?;
        check("repeat_penalty", self.repeat_penalty, |x| x.is_finite() && x > 0.0, "a finite number above 0")?;
        check("frequency_penalty", self.frequency_penalty, f32::is_finite, "a finite number")?;
        check("presence_penalty", self.presence_penalty, f32::is_finite, "a finite number")?;
        for (_, bias) in &self.logit_bias {
            check("logit_bias", *bias, |x| !x.is_nan(), "a number or an infinity for each token")?;
        }
        Ok(())
    }
}

fn check(name: &'static str, value: f32, good: impl Fn(f32) -> bool, expected: &str) -> Result<()> {
    if good(value) {
        return Ok(());
    }
    Err(Error::InvalidArgument { name, found: value.to_string(), expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the option that every one of these values is refused for.
    fn refused(change: impl Fn(&mut SamplerOptions, f32), values: &[f32]) -> &'static str {
        let mut names = values.iter().map(|value| {
            let mut options = SamplerOptions::default();
            change(&mut options, *value);
            match options.check() {
                Err(Error::InvalidArgument { name, .. }) => name,
                other => panic!("{value}: {other:?}"),
            }
        });
        let name = names.next().unwrap();
        assert!(names.all(|other| other == name));
        name
    }

    #[test]
    fn options_outside_their_ranges_are_named() {
        const NAN: f32 = f32::NAN;
        const INF: f32 = f32::INFINITY;
        assert_eq!(refused(|o, x| o.temperature = x, &[-0.1, NAN, INF]), "temperature");
        assert_eq!(refused(|o, x| o.top_p = x, &[-0.1, 1.1, NAN]), "top_p");
        assert_eq!(refused(|o, x| o.min_p = x, &[-0.1, 1.1, NAN]), "min_p");
        assert_eq!(refused(|o, x| o.repeat_penalty = x, &[0.0, -1.0, NAN, INF]), "repeat_penalty");
        assert_eq!(refused(|o, x| o.frequency_penalty = x, &[NAN, INF, -INF]), "frequency_penalty");
        assert_eq!(refused(|o, x| o.presence_penalty = x, &[NAN, INF, -INF]), "presence_penalty");
        assert_eq!(refused(|o, x| o.logit_bias = vec![(1, 0.0), (2, x)], &[NAN]), "logit_bias");
    }

    #[test]
    fn the_ends_of_the_ranges_are_accepted() {
        SamplerOptions::default().check().unwrap();
        SamplerOptions::greedy().check().unwrap();
        let low = SamplerOptions {
            top_p: 0.0,
            min_p: 0.0,
            repeat_penalty: f32::MIN_POSITIVE,
            frequency_penalty: -2.0,
            presence_penalty: -2.0,
            logit_bias: vec![(0, f32::NEG_INFINITY), (u32::MAX, f32::INFINITY)],
            ..SamplerOptions::default()
        };
        low.check().unwrap();
        SamplerOptions { top_p: 1.0, min_p: 1.0, temperature: f32::MAX, ..low }.check().unwrap();
    }
}
