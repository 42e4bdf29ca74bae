//! The texts that a head is fitted on.

use std::collections::BTreeSet;
use std::path::Path;

use crate::failure::Failure;
use crate::source;

/// Texts with their classes.
pub struct Data {
    pub texts: Vec<String>,
    /// For each text, the number of its label.
    pub classes: Vec<usize>,
    /// In the order of the alphabet.
    pub labels: Vec<String>,
}

impl Data {
    /// Reads a text, a tab and a label from each line that is not empty.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bad = |what: String| Failure::Input(format!("{}: {what}", path.display()));
        let lines = source::lines(Some(path))?;
        let mut pairs = Vec::new();
        for line in &lines {
            let (text, label) = line.rsplit_once('\t').unwrap_or((line, ""));
            let (text, label) = (text.trim(), label.trim());
            if text.is_empty() || label.is_empty() {
                return Err(bad(format!("each line is a text, a tab and its class, but there is {line:?}")));
            }
            pairs.push((text.to_owned(), label));
        }
        let labels: BTreeSet<&str> = pairs.iter().map(|(_, label)| *label).collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        if labels.len() < 2 {
            return Err(bad(format!("two classes are needed at least, there are {}", labels.len())));
        }
        let class = |label| labels.binary_search(&label).unwrap_or_default();
        let (texts, classes) = pairs.into_iter().map(|(text, label)| (text, class(label))).unzip();
        Ok(Self { texts, classes, labels: labels.into_iter().map(str::to_owned).collect() })
    }

    /// How many texts each class has.
    pub fn counts(&self) -> Vec<usize> {
        counts(&self.classes, &(0..self.classes.len()).collect::<Vec<_>>(), self.labels.len())
    }

    /// The texts' numbers, those for fitting and those set aside: of each class, `part` of its texts in an order that the
    /// seed decides. One is left for fitting.
    pub fn split(&self, part: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let mut random = Random(seed);
        let (mut fit, mut aside) = (Vec::new(), Vec::new());
        for class in 0..self.labels.len() {
            let mut members: Vec<usize> = (0..self.classes.len()).filter(|i| self.classes[*i] == class).collect();
            for i in (1..members.len()).rev() {
                members.swap(i, random.below(i + 1));
            }
            let count = ((members.len() as f64 * part).round() as usize).min(members.len() - 1);
            aside.extend_from_slice(&members[..count]);
            fit.extend_from_slice(&members[count..]);
        }
        fit.sort_unstable();
        aside.sort_unstable();
        (fit, aside)
    }
}

/// How many of the texts with these numbers each class has.
pub fn counts(classes: &[usize], numbers: &[usize], n_classes: usize) -> Vec<usize> {
    let mut counts = vec![0; n_classes];
    numbers.iter().for_each(|i| counts[classes[*i]] += 1);
    counts
}

/// SplitMix64, as the library's samplers have it: no other crate's release can change what a seed stands for.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_keeps_the_proportions() {
        let classes: Vec<usize> = (0..100).map(|i| usize::from(i % 4 == 0)).chain([2]).collect();
        let texts = vec![String::new(); 101];
        let data = Data { texts, classes, labels: ["a", "b", "c"].map(str::to_owned).to_vec() };
        assert_eq!(data.counts(), [75, 25, 1]);
        let (fit, aside) = data.split(0.2, 1);
        assert_eq!(counts(&data.classes, &aside, 3), [15, 5, 0]);
        let mut all = [fit.clone(), aside.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..101).collect::<Vec<_>>());
        assert_eq!(data.split(0.2, 1), (fit.clone(), aside));
        assert_ne!(data.split(0.2, 2).0, fit);
        assert_eq!(data.split(0.9, 1).0.len(), 7 + 2 + 1);
        assert!(data.split(0.0, 1).1.is_empty());
    }
}
