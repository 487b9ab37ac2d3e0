//! The trainable blocks both models share: linear maps and whole-sequence GRUs.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use gru::{
    GruSpec, GruWeights, affine, gru_final_states, gru_sequence, gru_sequence_and_final_states,
};

use crate::noise::Noise;
use crate::observed::Observed;

/// An affine map of the last axis.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// Weights N(0, `scale`²/inputs), given biases.
    pub fn new(n_inputs: usize, bias: Tensor<1>, scale: f64, noise: &mut Noise) -> Self {
        let n_outputs = bias.dims()[0];
        Self {
            weight: Param::from_tensor(normal_weight(
                [n_inputs, n_outputs],
                n_inputs,
                scale,
                noise,
            )),
            bias: Param::from_tensor(bias),
        }
    }

    /// `[row, input]` → `[row, output]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_sequence(x.unsqueeze()).squeeze_dim(0)
    }

    /// `[time, trial, input]` → `[time, trial, output]`.
    pub fn forward_sequence(&self, x: Tensor<3>) -> Tensor<3> {
        affine(x, self.weight.val(), self.bias.val().unsqueeze())
    }

    /// The biases, `[output]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }
}

/// A GRU of one or two directions over a whole sequence, with learned initial states.
#[derive(Module, Debug)]
pub struct Gru {
    w_in: Param<Tensor<3>>,
    w_rec: Param<Tensor<3>>,
    b_in: Param<Tensor<2>>,
    b_rec: Param<Tensor<2>>,
    initial: Param<Tensor<2>>,
    #[module(skip)]
    spec: GruSpec,
}

impl Gru {
    /// Weights N(0, 1/fan-in), zero initial states.
    pub fn new(
        n_directions: usize,
        n_inputs: usize,
        n_hidden: usize,
        spec: GruSpec,
        noise: &mut Noise,
    ) -> Self {
        let w_in = normal_weight([n_directions, n_inputs, 3 * n_hidden], n_inputs, 1.0, noise);
        let w_rec = normal_weight([n_directions, n_hidden, 3 * n_hidden], n_hidden, 1.0, noise);
        let device = w_in.device();
        Self {
            w_in: Param::from_tensor(w_in),
            w_rec: Param::from_tensor(w_rec),
            b_in: Param::from_tensor(Tensor::zeros([n_directions, 3 * n_hidden], &device)),
            b_rec: Param::from_tensor(Tensor::zeros([n_directions, 3 * n_hidden], &device)),
            initial: Param::from_tensor(Tensor::zeros([n_directions, n_hidden], &device)),
            spec,
        }
    }

    /// Hidden units of each direction.
    pub fn n_hidden(&self) -> usize {
        self.initial.dims()[1]
    }

    /// States of every bin, times what [`Noise::dropout`] gave: `[time, trial, input]` →
    /// `[time, trial, direction·hidden]`.
    pub fn forward(&self, x: Tensor<3>, dropout: Option<Vec<f32>>) -> Tensor<3> {
        let initial = self.initial_states(&x);
        gru_sequence(x, initial, self.weights(), self.spec, dropout)
    }

    /// The last state of each direction: `[time, trial, input]` → `[trial, direction·hidden]`.
    pub fn final_states(&self, x: Tensor<3>) -> Tensor<2> {
        let initial = self.initial_states(&x);
        gru_final_states(x, initial, self.weights(), self.spec)
    }

    /// What [`Gru::forward`] and [`Gru::final_states`] return, of one run.
    pub fn forward_with_finals(&self, x: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let initial = self.initial_states(&x);
        gru_sequence_and_final_states(x, initial, self.weights(), self.spec)
    }

    fn initial_states(&self, x: &Tensor<3>) -> Tensor<3> {
        let [_, n_trials, _] = x.dims();
        let [n_directions, n_hidden] = self.initial.dims();
        let initial = self.initial.val().unsqueeze_dim::<3>(1);
        initial.expand([n_directions, n_trials, n_hidden])
    }

    fn weights(&self) -> GruWeights {
        GruWeights {
            w_in: self.w_in.val(),
            w_rec: self.w_rec.val(),
            b_in: self.b_in.val(),
            b_rec: self.b_rec.val(),
        }
    }
}

/// `before`, then all but the last bin of `x`: `[time, trial, ·]` one bin later.
pub fn delay(x: Tensor<3>, before: Tensor<2>) -> Tensor<3> {
    let n_bins = x.dims()[0];
    let before = before.unsqueeze_dim(0);
    if n_bins == 1 {
        return before;
    }
    Tensor::cat(vec![before, x.narrow(0, 0, n_bins - 1)], 0)
}

/// x_t − γ x_{t−1} − β, what is new in each bin, zero where a frame it needs is missing (NaN);
/// a trial starts from rest.
pub fn innovations(x: &Tensor<3>, g: f64, baseline: f64) -> Tensor<3> {
    let [_, n_trials, n_neurons] = x.dims();
    let rest = Tensor::zeros([n_trials, n_neurons], &x.device());
    let new = x.clone() - delay(x.clone(), rest).mul_scalar(g) - baseline;
    Observed::new(new).values
}

/// A weight drawn from N(0, `scale`²/`fan_in`).
pub fn normal_weight<const D: usize>(
    shape: [usize; D],
    fan_in: usize,
    scale: f64,
    noise: &mut Noise,
) -> Tensor<D> {
    noise
        .normal(shape)
        .mul_scalar(scale / (fan_in as f64).sqrt())
}
