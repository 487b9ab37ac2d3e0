//! The evidence lower bound: a sum of named, weighted terms.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::number::Number;

/// A term of the negative bound, which training minimises. The order is that of the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// −log p(x | ·), the observations given what is inferred.
    Reconstruction,
    /// −log p(s | λ), inferred spikes under the inferred rates.
    Spikes,
    /// KL of the shallow latents.
    KlShallow,
    /// KL of the initial condition.
    KlIc,
    /// KL of the inferred inputs.
    KlInputs,
    /// L2 penalty on the generator's recurrent weights.
    L2,
}

impl Term {
    /// As it stands in histories and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reconstruction => "reconstruction",
            Self::Spikes => "spikes",
            Self::KlShallow => "kl_shallow",
            Self::KlIc => "kl_ic",
            Self::KlInputs => "kl_inputs",
            Self::L2 => "l2",
        }
    }

    /// What the warm-up multiplies it by.
    pub const fn weight(self, weights: TermWeights) -> f64 {
        match self {
            Self::Reconstruction | Self::Spikes => 1.0,
            Self::KlShallow => weights.kl_shallow,
            Self::KlIc | Self::KlInputs | Self::L2 => weights.kl_deep,
        }
    }

    /// Whether it only keeps weights small, and is no part of the bound.
    pub const fn is_penalty(self) -> bool {
        matches!(self, Self::L2)
    }
}

/// Warm-up state: how much the terms of each level count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TermWeights {
    /// Weight of the shallow level's KL divergence, w¹.
    pub kl_shallow: f64,
    /// Weight of the deep level's KL divergences and L2 penalty, w².
    pub kl_deep: f64,
}

impl TermWeights {
    /// All terms at full weight: the bound itself.
    pub const FULL: Self = Self {
        kl_shallow: 1.0,
        kl_deep: 1.0,
    };
}

/// The terms of a negative bound, each the mean over trials, in nats; `[1]`. What does not apply is
/// absent.
#[derive(Clone, Debug, Default)]
pub struct Elbo(BTreeMap<Term, Tensor<1>>);

impl Elbo {
    /// No terms yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more term, or with another value of it.
    #[must_use]
    pub fn with(mut self, term: Term, value: Tensor<1>) -> Self {
        self.0.insert(term, value);
        self
    }

    /// The terms of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The value of a term.
    pub fn get(&self, term: Term) -> Option<&Tensor<1>> {
        self.0.get(&term)
    }

    /// The weighted sum, to be minimised.
    ///
    /// # Panics
    /// If there are no terms.
    pub fn loss(&self, weights: TermWeights) -> Tensor<1> {
        self.0
            .iter()
            .map(|(term, value)| value.clone().mul_scalar(term.weight(weights)))
            .reduce(|sum, term| sum + term)
            .expect("a bound has terms")
    }

    /// The terms as numbers.
    pub fn values(&self) -> ElboValues {
        let number = |value: &Tensor<1>| f64::from(value.clone().into_scalar::<f32>());
        let values = self.0.iter().map(|(term, value)| (*term, number(value)));
        ElboValues(values.collect())
    }
}

/// [`Elbo`] as numbers, nats per trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<Term, Option<Number>>",
    into = "BTreeMap<Term, Number>"
)]
pub struct ElboValues(BTreeMap<Term, f64>);

/// Histories of version 1 wrote null for what is absent.
impl From<BTreeMap<Term, Option<Number>>> for ElboValues {
    fn from(terms: BTreeMap<Term, Option<Number>>) -> Self {
        let present = |(term, value): (Term, Option<Number>)| Some((term, value?.0));
        Self(terms.into_iter().filter_map(present).collect())
    }
}

impl From<ElboValues> for BTreeMap<Term, Number> {
    fn from(values: ElboValues) -> Self {
        let numbers = values.0.into_iter();
        numbers.map(|(term, value)| (term, Number(value))).collect()
    }
}

impl ElboValues {
    /// The value of a term, if it applies.
    pub fn get(&self, term: Term) -> Option<f64> {
        self.0.get(&term).copied()
    }

    /// The terms in the order of the sum.
    pub fn iter(&self) -> impl Iterator<Item = (Term, f64)> {
        self.0.iter().map(|(term, value)| (*term, *value))
    }

    /// The first term that is NaN or infinite.
    pub fn non_finite(&self) -> Option<(Term, f64)> {
        self.iter().find(|(_, value)| !value.is_finite())
    }

    /// Sum at full weights, without the penalty: the negative bound.
    pub fn negative_bound(&self) -> f64 {
        let of_bound = self.iter().filter(|(term, _)| !term.is_penalty());
        of_bound.map(|(_, value)| value).sum()
    }

    /// Term-wise mean of values of so many trials each, all of the same terms.
    pub fn mean(values: &[(usize, Self)]) -> Self {
        let n = values.iter().map(|(n, _)| *n as f64).sum::<f64>();
        let mut sums = BTreeMap::new();
        for (n, terms) in values {
            for (term, value) in terms.iter() {
                *sums.entry(term).or_insert(0.0) += value * *n as f64;
            }
        }
        Self(
            sums.into_iter()
                .map(|(term, sum)| (term, sum / n))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn elbo(terms: &[(Term, f64)]) -> Elbo {
        let number = |value| Tensor::full([1], value, &Device::flex());
        let with = |elbo: Elbo, (term, value): &(Term, f64)| elbo.with(*term, number(*value));
        terms.iter().fold(Elbo::new(), with)
    }

    const ALL: [(Term, f64); 6] = [
        (Term::Reconstruction, 1.0),
        (Term::Spikes, 2.0),
        (Term::KlShallow, 4.0),
        (Term::KlIc, 8.0),
        (Term::KlInputs, 32.0),
        (Term::L2, 16.0),
    ];

    #[test]
    fn each_level_has_its_weight_and_the_penalty_is_no_part_of_the_bound() {
        let weights = TermWeights {
            kl_shallow: 0.5,
            kl_deep: 0.25,
        };
        let loss: f32 = elbo(&ALL).loss(weights).into_scalar();
        assert!((loss - 19.0).abs() < 1e-6, "{loss}");
        assert!((elbo(&ALL).values().negative_bound() - 47.0).abs() < 1e-6);
    }

    #[test]
    fn the_mean_is_over_trials() {
        let [few, many] = [1.0, 5.0].map(|value| elbo(&[(Term::Spikes, value)]).values());
        let mean = ElboValues::mean(&[(1, few), (3, many)]);
        assert_eq!(mean.iter().collect::<Vec<_>>(), [(Term::Spikes, 4.0)]);
    }

    #[test]
    fn what_is_absent_is_left_out_and_older_histories_are_read() {
        let values = elbo(&[(Term::KlIc, 2.0)]).values();
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"{"kl_ic":2.0}"#);
        assert_eq!(serde_json::from_str::<ElboValues>(&text).unwrap(), values);
        let older = r#"{"kl_ic":2.0,"spikes":null}"#;
        assert_eq!(serde_json::from_str::<ElboValues>(older).unwrap(), values);
    }

    #[test]
    fn names_are_those_of_the_files() {
        for (term, _) in ALL {
            assert_eq!(serde_json::to_value(term).unwrap(), term.name());
        }
    }
}
