//! Recent tokens become less likely.

use std::collections::{HashMap, VecDeque};

use super::SamplerOptions;
use crate::Token;

/// The last accepted tokens, and what each costs.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    repeat: f32,
    frequency: f32,
    presence: f32,
    last_n: usize,
    /// Oldest first, at most `last_n`.
    recent: VecDeque<Token>,
    /// How often each token is in `recent`, kept up to date so that a long window is not counted anew every time.
    counts: HashMap<Token, u32>,
}

impl Penalties {
    /// `None` when the options turn all penalties off: nothing has to be remembered then.
    pub(super) fn new(options: &SamplerOptions) -> Option<Self> {
        let (repeat, frequency, presence) =
            (options.repeat_penalty, options.frequency_penalty, options.presence_penalty);
        let off = repeat == 1.0 && frequency == 0.0 && presence == 0.0;
        (!off && options.penalty_last_n > 0).then(|| Self {
            repeat,
            frequency,
            presence,
            last_n: options.penalty_last_n,
            recent: VecDeque::new(),
            counts: HashMap::new(),
        })
    }

    pub(super) fn accept(&mut self, token: Token) {
        if self.recent.len() == self.last_n
            && let Some(oldest) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        self.recent.push_back(token);
        *self.counts.entry(token).or_insert(0) += 1;
    }

    pub(super) fn reset(&mut self) {
        self.recent.clear();
        self.counts.clear();
    }

    /// Lowers the logits of the recent tokens. Each is changed on its own, so the map's order does not matter; tokens
    /// without a logit are passed over.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (token, count) in &self.counts {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            // Dividing a negative logit would raise it.
            *logit = if *logit > 0.0 { *logit / self.repeat } else { *logit * self.repeat };
            *logit -= *count as f32 * self.frequency + self.presence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalties(repeat: f32, frequency: f32, presence: f32, last_n: usize) -> Penalties {
        Penalties::new(&SamplerOptions {
            repeat_penalty: repeat,
            frequency_penalty: frequency,
            presence_penalty: presence,
            penalty_last_n: last_n,
            ..SamplerOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn each_penalty_by_hand() {
        let mut p = penalties(2.0, 0.25, 0.5, 8);
        [1, 2, 1, 3, 4, 99].iter().for_each(|t| p.accept(*t));
        let mut logits = [4.0, 4.0, -1.0, 0.0, f32::NEG_INFINITY];
        p.apply(&mut logits);
        // 1: 4/2 - 2*0.25 - 0.5; 2: -1*2 - 0.25 - 0.5; 3: 0 - 0.25 - 0.5
        assert_eq!(logits, [4.0, 1.0, -2.75, -0.75, f32::NEG_INFINITY]);
    }

    #[test]
    fn a_token_that_left_the_window_is_free_again() {
        let mut p = penalties(1.0, 1.0, 0.0, 3);
        [5, 5, 0, 1].iter().for_each(|t| p.accept(*t));
        let mut logits = [0.0; 6];
        p.apply(&mut logits);
        assert_eq!(logits, [-1.0, -1.0, 0.0, 0.0, 0.0, -1.0]);
        p.accept(1);
        assert_eq!(p.counts.len(), 2, "5 is forgotten");
        p.reset();
        logits = [0.0; 6];
        p.apply(&mut logits);
        assert_eq!(logits, [0.0; 6]);
    }

    #[test]
    fn nothing_is_kept_when_they_are_off() {
        assert!(Penalties::new(&SamplerOptions::default()).is_none());
        let no_window = SamplerOptions { repeat_penalty: 1.5, penalty_last_n: 0, ..SamplerOptions::default() };
        assert!(Penalties::new(&no_window).is_none());
    }
}
