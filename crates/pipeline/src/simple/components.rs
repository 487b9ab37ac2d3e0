//! Principal components of smoothed activity: what all neurons together tell of each.

use anyhow::{Context, Result};
use metrics::{PrincipalComponents, Ridge};
use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis, s};

/// Components that are kept, as many as a fit has factors by default.
pub const N_COMPONENTS: usize = 8;
/// Frames that components and regressions are fitted on, at most.
const MAX_FRAMES: usize = 20_000;
/// Penalty of a regression, per variance of a feature.
const PENALTY: f64 = 1e-3;

/// Principal components of the activity of all neurons but the hidden.
pub(crate) struct Shown {
    neurons: Vec<usize>,
    components: PrincipalComponents,
    frames: Vec<(usize, usize)>,
    samples: Array2<f32>,
}

impl Shown {
    /// Fitted to `features`, `[trial, time, neuron]`, in these `frames`.
    pub(crate) fn but(
        hidden: &[usize],
        features: ArrayView3<'_, f32>,
        frames: &[(usize, usize)],
    ) -> Result<Self> {
        let neurons: Vec<usize> = (0..features.len_of(Axis(2)))
            .filter(|neuron| !hidden.contains(neuron))
            .collect();
        let samples = gather(features, frames, &neurons);
        Ok(Self {
            components: PrincipalComponents::of(samples.view())?,
            neurons,
            frames: frames.to_vec(),
            samples,
        })
    }

    /// What the first `n` components tell of `targets`, `[trial, time, neuron]`, of the hidden: a regression
    /// in the frames where those are known.
    pub(crate) fn tell(
        &self,
        targets: ArrayView3<'_, f32>,
        hidden: &[usize],
        n: usize,
    ) -> Result<Told<'_>> {
        let n_components = n.min(self.neurons.len());
        let places = projected(&self.components, self.samples.view(), n_components)?;
        let wanted = gather(targets, &self.frames, hidden);
        let known: Vec<usize> = (0..self.frames.len())
            .filter(|&row| wanted.row(row).iter().all(|x| x.is_finite()))
            .collect();
        let [places, wanted] = [places, wanted].map(|array| array.select(Axis(0), &known));
        Ok(Told {
            shown: self,
            n_components,
            ridge: Ridge::fit(places.view(), wanted.view(), PENALTY)?,
        })
    }
}

/// What principal components of some neurons' activity tell of that of others.
pub(crate) struct Told<'a> {
    shown: &'a Shown,
    n_components: usize,
    ridge: Ridge,
}

impl Told<'_> {
    /// What is expected of the hidden in these frames, `[frame, hidden]`.
    pub(crate) fn expected(
        &self,
        features: ArrayView3<'_, f32>,
        frames: &[(usize, usize)],
    ) -> Result<Array2<f32>> {
        let samples = gather(features, frames, &self.shown.neurons);
        let places = projected(&self.shown.components, samples.view(), self.n_components)?;
        Ok(self.ridge.predict(places.view())?)
    }
}

/// The activity as its first components hold it, fitted on the frames in `train`,
/// `[trial, time, neuron]`; NaN where a neuron is.
///
/// # Errors
/// Fewer than two frames in which all neurons have a value.
pub fn of_components(
    smooth: ArrayView3<'_, f32>,
    train: ArrayView2<'_, bool>,
) -> Result<Array3<f32>> {
    let neurons: Vec<usize> = (0..smooth.len_of(Axis(2))).collect();
    let samples = gather(smooth, &whole_frames(smooth, train), &neurons);
    let components = PrincipalComponents::of(samples.view())
        .context("principal components of the activity on training frames")?;
    let mut held = Array3::from_elem(smooth.dim(), f32::NAN);
    for (mut to, from) in held.outer_iter_mut().zip(smooth.outer_iter()) {
        for (mut to, from) in to.outer_iter_mut().zip(from.outer_iter()) {
            if from.iter().all(|x| x.is_finite()) {
                to.assign(&components.reconstruct(from, N_COMPONENTS)?);
            }
        }
    }
    Ok(held)
}

/// Frames of `within` in which every neuron has a value; evenly chosen ones, if there are very many.
pub(crate) fn whole_frames(
    values: ArrayView3<'_, f32>,
    within: ArrayView2<'_, bool>,
) -> Vec<(usize, usize)> {
    let n_within = within.iter().filter(|is_in| **is_in).count();
    let frames = within.indexed_iter().filter(|(_, is_in)| **is_in);
    frames
        .step_by(n_within.div_ceil(MAX_FRAMES).max(1))
        .map(|(frame, _)| frame)
        .filter(|&(trial, bin)| {
            values
                .slice(s![trial, bin, ..])
                .iter()
                .all(|x| x.is_finite())
        })
        .collect()
}

/// `[frame, neuron]`.
pub(crate) fn gather(
    values: ArrayView3<'_, f32>,
    frames: &[(usize, usize)],
    neurons: &[usize],
) -> Array2<f32> {
    Array2::from_shape_fn((frames.len(), neurons.len()), |(row, column)| {
        let (trial, bin) = frames[row];
        values[[trial, bin, neurons[column]]]
    })
}

fn projected(
    components: &PrincipalComponents,
    samples: ArrayView2<'_, f32>,
    n: usize,
) -> Result<Array2<f32>> {
    let mut places = Array2::zeros((samples.nrows(), n));
    for (mut to, sample) in places.outer_iter_mut().zip(samples.outer_iter()) {
        let place: Array1<f64> = components.project(sample)?;
        to.iter_mut()
            .zip(&place)
            .for_each(|(to, &x)| *to = x as f32);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing that the hidden do is seen.
    #[test]
    fn components_of_the_shown_know_nothing_of_the_hidden() {
        let wave = |t: usize, n: usize| ((t * (n + 2)) as f32 * 0.3).sin();
        let frames: Vec<(usize, usize)> = (0..60).map(|t| (0, t)).collect();
        let expected = |hidden_is: f32| {
            let features = Array3::from_shape_fn((1, 60, 4), |(_, t, n)| match n {
                1 => hidden_is * wave(t, 7),
                n => wave(t, n),
            });
            let targets = Array3::from_shape_fn((1, 60, 4), |(_, t, n)| wave(t + 1, n));
            let shown = Shown::but(&[1], features.view(), &frames).unwrap();
            let told = shown.tell(targets.view(), &[1], N_COMPONENTS).unwrap();
            told.expected(features.view(), &frames).unwrap()
        };
        assert_eq!(expected(1.0), expected(-50.0));
    }
}
