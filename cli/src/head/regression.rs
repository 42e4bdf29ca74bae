//! Softmax regression: the linear map that makes the classes of some vectors most likely.

use argmin::core::{CostFunction, Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

use crate::failure::Failure;

/// Vectors with their classes.
pub struct Examples<'a> {
    /// `[example][width]`
    pub vectors: &'a [f32],
    pub width: usize,
    /// For each vector, its class.
    pub classes: &'a [usize],
    pub n_classes: usize,
    /// Which of the vectors.
    pub numbers: &'a [usize],
}

/// A score for each class: W x + b.
#[derive(Clone)]
pub struct Linear {
    /// `[class][width]`
    pub weights: Vec<f64>,
    /// One for each class.
    pub bias: Vec<f64>,
}

/// The mean and one over the standard deviation of each element of some vectors; 0 where it does not vary.
pub struct Standard {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

/// How many vectors L-BFGS remembers, and how often it steps at most.
const MEMORY: usize = 10;
const STEPS: u64 = 1000;

impl Examples<'_> {
    fn vector(&self, number: usize) -> &[f32] {
        &self.vectors[number * self.width..][..self.width]
    }

    /// What makes the elements comparable, so that the penalty means the same for each.
    pub fn standard(&self) -> Standard {
        let n = self.numbers.len() as f64;
        let sum = |of: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; self.width];
            for number in self.numbers {
                sums.iter_mut()
                    .zip(self.vector(*number))
                    .enumerate()
                    .for_each(|(i, (s, x))| *s += of(i, f64::from(*x)));
            }
            sums.into_iter().map(|sum| sum / n).collect::<Vec<f64>>()
        };
        let mean = sum(&|_, x| x);
        let variance = sum(&|i, x| (x - mean[i]) * (x - mean[i]));
        let scale = variance.into_iter().map(|v| if v > 0.0 { 1.0 / v.sqrt() } else { 0.0 }).collect();
        Standard { mean, scale }
    }

    /// Minimizes the mean of the examples' negative log-probabilities plus half of `l2` times the squares of the weights that
    /// standardized vectors have. Starts from `parameters`, `[class][width + bias]` for those, and leaves the optimum there.
    pub fn fit(&self, standard: &Standard, l2: f64, parameters: &mut Vec<f64>) -> Result<Linear, Failure> {
        let failed = |error| Failure::Input(format!("the regression failed: {error}"));
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(1e-6)
            .and_then(|solver| solver.with_tolerance_cost(1e-12))
            .map_err(failed)?;
        let start = std::mem::take(parameters);
        let objective = Objective { examples: self, standard, l2 };
        let found = Executor::new(objective, solver)
            .configure(|state| state.param(start).max_iters(STEPS))
            .timer(false)
            .run()
            .map_err(failed)?;
        let best = found.state.get_best_param().cloned();
        *parameters = best.ok_or_else(|| Failure::Input("the regression found nothing".to_owned()))?;
        Ok(standard.fold(parameters))
    }

    /// The mean of the negative log-probabilities of the classes, and how many have the greatest score.
    pub fn judge(&self, linear: &Linear) -> (f64, usize) {
        let (mut loss, mut right) = (0.0, 0);
        let mut scores = vec![0.0; self.n_classes];
        for number in self.numbers {
            let class = self.classes[*number];
            linear.scores(self.vector(*number), &mut scores);
            let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)));
            right += usize::from(best == Some(class));
            let score = scores[class];
            loss += softmax(&mut scores) - score;
        }
        (loss / self.numbers.len() as f64, right)
    }
}

impl Linear {
    fn scores(&self, x: &[f32], out: &mut [f64]) {
        for ((weights, bias), out) in self.weights.chunks_exact(x.len()).zip(&self.bias).zip(out) {
            *out = weights.iter().zip(x).fold(0.0, |sum, (w, x)| sum + w * f64::from(*x)) + bias;
        }
    }
}

impl Standard {
    /// The map on vectors as they are that is the same as `parameters` on standardized ones.
    fn fold(&self, parameters: &[f64]) -> Linear {
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for class in parameters.chunks_exact(self.mean.len() + 1) {
            let first = weights.len();
            weights.extend(class.iter().zip(&self.scale).map(|(w, scale)| w * scale));
            let shift: f64 = weights[first..].iter().zip(&self.mean).map(|(w, mean)| w * mean).sum();
            bias.push(class[self.mean.len()] - shift);
        }
        Linear { weights, bias }
    }
}

/// Makes probabilities of scores; the logarithm of what they are divided by, before all else the sum of their exponentials.
fn softmax(scores: &mut [f64]) -> f64 {
    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // The functions of `libm` are the same on every machine.
    scores.iter_mut().for_each(|score| *score = libm::exp(*score - greatest));
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    greatest + libm::log(sum)
}

/// What is minimized, of the parameters on standardized vectors.
struct Objective<'a> {
    examples: &'a Examples<'a>,
    standard: &'a Standard,
    l2: f64,
}

impl CostFunction for Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        let (loss, _) = self.examples.judge(&self.standard.fold(parameters));
        let classes = parameters.chunks_exact(self.examples.width + 1);
        let squares: f64 = classes.flat_map(|class| &class[..self.examples.width]).map(|w| w * w).sum();
        Ok(loss + self.l2 / 2.0 * squares)
    }
}

impl Gradient for Objective<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        let Examples { width, n_classes, classes, numbers, .. } = *self.examples;
        let linear = self.standard.fold(parameters);
        // By class: the sum of what is wrong, times the vector and times one.
        let mut gradient = vec![0.0; parameters.len()];
        let mut wrong = vec![0.0; n_classes];
        for number in numbers {
            let x = self.examples.vector(*number);
            linear.scores(x, &mut wrong);
            softmax(&mut wrong);
            wrong[classes[*number]] -= 1.0;
            for (gradient, wrong) in gradient.chunks_exact_mut(width + 1).zip(&wrong) {
                gradient.iter_mut().zip(x).for_each(|(g, x)| *g += wrong * f64::from(*x));
                gradient[width] += wrong;
            }
        }
        let n = numbers.len() as f64;
        for (gradient, parameters) in gradient.chunks_exact_mut(width + 1).zip(parameters.chunks_exact(width + 1)) {
            gradient[width] /= n;
            let shared = gradient[width];
            let Standard { mean, scale } = self.standard;
            for i in 0..width {
                gradient[i] = (gradient[i] / n - mean[i] * shared) * scale[i] + self.l2 * parameters[i];
            }
        }
        Ok(gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around three corners, with an element that does not vary and one that is far from zero.
    fn points() -> (Vec<f32>, Vec<usize>) {
        let noise = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
        let corners = [[0.0, 0.0], [1.0, 0.2], [0.3, 1.0]];
        let point = |i: usize| {
            let [x, y] = corners[i % 3];
            [x + noise(i), 1000.0 + 50.0 * (y + noise(i + 500)), 4.0]
        };
        ((0..150).flat_map(point).collect(), (0..150).map(|i| i % 3).collect())
    }

    fn check(l2: f64) -> f64 {
        let (vectors, classes) = points();
        let numbers: Vec<usize> = (0..150).filter(|i| i % 5 != 0).collect();
        let examples = Examples { vectors: &vectors, width: 3, classes: &classes, n_classes: 3, numbers: &numbers };
        let standard = examples.standard();
        let mut parameters = vec![0.0; 12];
        let linear = examples.fit(&standard, l2, &mut parameters).unwrap();

        let objective = Objective { examples: &examples, standard: &standard, l2 };
        let gradient = objective.gradient(&parameters).unwrap();
        assert!(gradient.iter().all(|g| g.abs() < 1e-6), "not the optimum: {gradient:?}");
        // The gradient is that of the cost, away from the optimum too.
        let at: Vec<f64> = (0..12).map(|i| parameters[i] + 0.3 * (i as f64 - 5.0)).collect();
        let gradient = objective.gradient(&at).unwrap();
        for (i, expected) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[i] += by;
                objective.cost(&at).unwrap()
            };
            let found = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((found - expected).abs() < 1e-6, "{i}: {found} {expected}");
        }
        // What is folded is what was fitted.
        assert_eq!([linear.weights[2], linear.weights[5], linear.weights[8]], [0.0; 3]);
        let (loss, right) = examples.judge(&linear);
        assert!(right > 90, "{right}");
        loss
    }

    #[test]
    fn the_optimum_is_found() {
        let losses = [1.0, 1e-2, 1e-6].map(check);
        assert!(losses[0] > losses[1] && losses[1] > losses[2], "{losses:?}");
    }

    #[test]
    fn nothing_to_learn_is_no_failure() {
        let (vectors, classes) = (vec![2.0; 8], [0, 1, 0, 1]);
        let examples =
            Examples { vectors: &vectors, width: 2, classes: &classes, n_classes: 2, numbers: &[0, 1, 2, 3] };
        let linear = examples.fit(&examples.standard(), 0.1, &mut vec![0.0; 6]).unwrap();
        assert_eq!(linear.weights, [0.0; 4]);
        assert!((examples.judge(&linear).0 - std::f64::consts::LN_2).abs() < 1e-12);
    }
}
