//! The fused operations say that they ran: without them everything still computes, many times slower.
#![cfg(feature = "flex")]

use burn::tensor::{Device, Tensor};
use gru::{
    ControlledArguments, GruSpec, GruWeights, ResetGate, SpikeLoopArguments, fused_runs, plain,
};

const SPEC: GruSpec = GruSpec {
    reset: ResetGate::AfterProduct,
    clip: None,
};

/// Bins, trials and channels of everything here.
const N: usize = 3;

fn weights(device: &Device) -> GruWeights {
    GruWeights {
        w_in: Tensor::ones([1, N, 3 * N], device),
        w_rec: Tensor::ones([1, N, 3 * N], device),
        b_in: Tensor::ones([1, 3 * N], device),
        b_rec: Tensor::ones([1, 3 * N], device),
    }
}

fn spike_loop_arguments(device: &Device) -> SpikeLoopArguments {
    SpikeLoopArguments {
        drive: Tensor::zeros([N, N, 2 * N], device),
        spike_drive: Tensor::zeros([N; 3], device),
        initial_spikes: Tensor::zeros([N; 2], device),
        w_feedback: Tensor::zeros([N, 2 * N], device),
        w_spike: Tensor::zeros([N; 2], device),
        prior: Tensor::zeros([2 * N], device),
        noise: Tensor::zeros([N; 3], device),
    }
}

fn controlled_arguments(device: &Device) -> ControlledArguments {
    ControlledArguments {
        drive: Tensor::zeros([N, N, 3 * N], device),
        c0: Tensor::zeros([N; 2], device),
        g0: Tensor::zeros([N; 2], device),
        w_feedback: Tensor::zeros([N, 3 * N], device),
        w_controller: Tensor::zeros([N, 3 * N], device),
        w_posterior: Tensor::zeros([N, 2], device),
        b_posterior: Tensor::zeros([2], device),
        w_input: Tensor::zeros([1, 3 * N], device),
        w_generator: Tensor::zeros([N, 3 * N], device),
        b_generator: Tensor::zeros([3 * N], device),
        w_factors: Tensor::zeros([N; 2], device),
        noise: Tensor::zeros([N, N, 1], device),
        scale: None,
    }
}

// One test: the count is of the whole process.
#[test]
fn every_operation_runs_fused_on_the_cpu_and_only_there() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let x = Tensor::<3>::ones([N; 3], &device);
        let rows = Tensor::<2>::ones([N; 2], &device);
        let columns = Tensor::<1>::zeros([N], &device);
        let h0 = Tensor::<3>::zeros([1, N, N], &device);
        let wide = Tensor::<2>::ones([N, 3 * N], &device);
        let bias = Tensor::<1>::zeros([3 * N], &device);
        let ran = |name: &str, operation: &dyn Fn()| {
            let before = fused_runs();
            operation();
            assert_eq!(fused_runs() - before, 1, "{name} on {device:?}");
        };
        let sequence = |x: &Tensor<3>| (x.clone(), h0.clone(), weights(&device));
        ran("gru_sequence", &|| {
            let (x, h0, weights) = sequence(&x);
            let _ = gru::gru_sequence(x, h0, weights, SPEC, None);
        });
        ran("gru_final_states", &|| {
            let (x, h0, weights) = sequence(&x);
            let _ = gru::gru_final_states(x, h0, weights, SPEC);
        });
        ran("gru_sequence_and_final_states", &|| {
            let (x, h0, weights) = sequence(&x);
            let _ = gru::gru_sequence_and_final_states(x, h0, weights, SPEC);
        });
        ran("gru_generate", &|| {
            let (h0, w_out) = (rows.clone(), rows.clone());
            let _ = gru::gru_generate(h0, wide.clone(), bias.clone(), w_out, N, SPEC, None);
        });
        ran("gru_generate_controlled", &|| {
            let _ = gru::gru_generate_controlled(controlled_arguments(&device), None);
        });
        ran("ar1_filter", &|| {
            let _ = gru::ar1_filter(x.clone(), rows.clone(), &[0.5; N]);
        });
        ran("blur", &|| {
            let _ = gru::blur(x.clone(), &[1.0; 3 * N]);
        });
        ran("poisson_log_likelihood", &|| {
            let _ = gru::poisson_log_likelihood(x.clone(), x.clone(), x.clone(), 0.0);
        });
        ran("poisson_log_likelihood_of_rates", &|| {
            let _ = gru::poisson_log_likelihood_of_rates(x.clone(), x.clone(), x.clone(), 0.0);
        });
        ran("gaussian_log_likelihood", &|| {
            let _ = gru::gaussian_log_likelihood(x.clone(), x.clone(), columns.clone());
        });
        ran("affine", &|| {
            let _ = gru::affine(x.clone(), rows.clone(), x.clone());
        });
        ran("spike_loop", &|| {
            let _ = gru::spike_loop(spike_loop_arguments(&device), 3.0);
        });
        let before = fused_runs();
        let (x, h0, weights) = sequence(&x);
        let _ = plain::gru_sequence(x, h0, weights, SPEC, None);
        assert_eq!(fused_runs(), before, "the plain operations do not count");
    }
}
