//! What is known of the spikes at best: Bayes' rule told the true rates and indicator, on held-out trials.
//!
//! For each world the r² with the true counts of: draws of the sampler, averaged; the posterior means; those under a
//! constant rate per neuron, which nobody was told. Beside them how many nats a trace the sampler is from Bayes' rule, which
//! share of its draws counts when they are weighted, and how long a frame takes.

use std::error::Error;
use std::time::Instant;

use calcium::counts::{
    CalciumDynamics, Chance, ConstantRate, CountModel, CountSample, LinearSensor, SaturatingSensor,
    Sensor, Smoother, SpikeResponse, Start, Trace, ln_factorial,
};
use calcium::{Ar2, Discretisation, Hill, Kernel};
use metrics::MetricsError;
use ndarray::{Array3, ArrayView1, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use synth::{LorenzBenchmark, Observation};

/// Draws of the sampler for each trace.
const N_DRAWS: usize = 32;
/// Held-out trials that are looked at.
const N_TRIALS: usize = 65;
const HILL: Hill = Hill {
    exponent: 2.0,
    half_saturation: 4.0,
    scale: 8.0,
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("world                sampler    means  constant  KL, nats  effective  us/frame");
    for noise_sd in [0.2, 0.5] {
        let table1 = LorenzBenchmark {
            observation: Observation {
                noise_sd,
                ..Observation::default()
            },
            ..LorenzBenchmark::default()
        };
        report(&format!("Table 1, noise {noise_sd}"), &table1, None)?;
        let decay = Kernel::Ar1 {
            tau_s: 0.3,
            discretisation: Discretisation::Euler,
        };
        let rise = Kernel::Ar2 {
            tau_rise_s: 0.1,
            tau_decay_s: 0.3,
            discretisation: Discretisation::Euler,
        };
        report(
            &format!("30 Hz, noise {noise_sd}"),
            &faster(noise_sd, decay, None),
            None,
        )?;
        report(
            &format!("rise, noise {noise_sd}"),
            &faster(noise_sd, rise, None),
            None,
        )?;
        report(
            &format!("Hill, noise {noise_sd}"),
            &faster(noise_sd, decay, Some(HILL)),
            Some(HILL),
        )?;
    }
    Ok(())
}

/// 30 bins a second, 5 Hz.
fn faster(noise_sd: f64, kinetics: Kernel, saturation: Option<Hill>) -> LorenzBenchmark {
    LorenzBenchmark {
        n_bins: 90,
        dt_s: 1.0 / 30.0,
        observation: Observation {
            base_rate_hz: 5.0,
            noise_sd,
            kinetics,
            saturation,
            ..Observation::default()
        },
        ..LorenzBenchmark::default()
    }
}

fn report(
    world: &str,
    benchmark: &LorenzBenchmark,
    hill: Option<Hill>,
) -> Result<(), Box<dyn Error>> {
    let observation = &benchmark.observation;
    let ar = match observation.kinetics {
        Kernel::Ar1 { tau_s, .. } => Ar2::from_roots(1.0 - benchmark.dt_s / tau_s, 0.0)?,
        Kernel::Ar2 {
            tau_rise_s,
            tau_decay_s,
            discretisation,
        } => Ar2::from_taus(tau_decay_s, tau_rise_s, benchmark.dt_s, discretisation)?,
    };
    let held_out = benchmark.simulate(1)?.valid;
    let trials = |array: Option<Array3<f32>>| {
        array.map(|array| array.slice(s![..N_TRIALS, .., ..]).to_owned())
    };
    let (Some(fluor), Some(rates), Some(spikes)) = (
        trials(held_out.fluor),
        trials(held_out.rates),
        trials(held_out.spikes),
    ) else {
        return Err("the simulation lacks an array".into());
    };
    let traces = Traces {
        log_means: rates.mapv(|rate| (f64::from(rate) * benchmark.dt_s).ln() as f32),
        fluor,
        spikes,
    };
    let constant = traces.under_constant_rate(SpikeResponse {
        ar,
        gain: observation.gain,
        baseline: observation.baseline,
        saturation: hill,
        starts_decaying: false,
    })?;
    let linear = LinearSensor::new(observation.noise_sd);
    let known = match (ar.roots()[1] > 0.0, hill) {
        (false, None) => traces.known(&model::<1, _>(ar, observation, linear))?,
        (true, _) => traces.known(&model::<2, _>(ar, observation, linear))?,
        (false, Some(hill)) => {
            let sensor = SaturatingSensor::new(hill, observation.noise_sd);
            traces.known(&model::<1, _>(ar, observation, sensor))?
        }
    };
    println!(
        "{world:<20} {:>7.4} {:>8.4} {constant:>9.4} {:>9.2} {:>10.2} {:>9.2}",
        known.r2_drawn, known.r2_means, known.divergence, known.effective, known.us_per_frame
    );
    Ok(())
}

fn model<const P: usize, S>(ar: Ar2, observation: &Observation, sensor: S) -> CountModel<P, S> {
    let both = ar.g();
    CountModel {
        calcium: CalciumDynamics {
            coefficients: std::array::from_fn(|lag| both[lag]),
            gain: observation.gain,
            baseline: observation.baseline,
        },
        sensor,
        start: Start::Rest,
    }
}

/// `[trial, time, neuron]` each.
struct Traces {
    fluor: Array3<f32>,
    log_means: Array3<f32>,
    spikes: Array3<f32>,
}

/// What follows from the true rates.
struct Known {
    r2_drawn: f64,
    r2_means: f64,
    /// Mean over traces of KL(sampler ‖ Bayes' rule).
    divergence: f64,
    /// Mean share of the draws that count: (Σ w)² / (n Σ w²).
    effective: f64,
    us_per_frame: f64,
}

impl Traces {
    fn known<const P: usize, S: Sensor>(
        &self,
        model: &CountModel<P, S>,
    ) -> Result<Known, MetricsError> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut smoother, mut seconds) = (Smoother::default(), 0.0);
        let (mut drawn, mut means) = (self.fluor.clone(), self.fluor.clone());
        let (mut divergence, mut effective, mut n_traces) = (0.0, 0.0, 0.0);
        let results = drawn
            .lanes_mut(Axis(1))
            .into_iter()
            .zip(means.lanes_mut(Axis(1)));
        for ((mut drawn, mut means), log_means) in results.zip(self.log_means.lanes(Axis(1))) {
            let (x, log_means) = (means.to_vec(), log_means.to_vec());
            let trace = Trace {
                x: &x,
                log_means: &log_means,
            };
            let start = Instant::now();
            let smoothed = model.smooth(trace, &mut smoother);
            seconds += start.elapsed().as_secs_f64();
            let draws = Draws::of(model, trace, &mut rng);
            divergence += smoothed.log_evidence - draws.mean_log_weight;
            effective += draws.effective;
            n_traces += 1.0;
            drawn.assign(&ArrayView1::from(&draws.mean));
            means.assign(&ArrayView1::from(&smoothed.expected));
        }
        Ok(Known {
            r2_drawn: metrics::fit(drawn.view(), self.spikes.view())?.r2,
            r2_means: metrics::fit(means.view(), self.spikes.view())?.r2,
            divergence: divergence / n_traces,
            effective: effective / n_traces,
            us_per_frame: 1e6 * seconds / self.fluor.len() as f64,
        })
    }

    /// The r² of posterior means under a constant rate per neuron.
    fn under_constant_rate(&self, response: SpikeResponse) -> Result<f64, Box<dyn Error>> {
        let mut means = self.fluor.clone();
        for mut neuron in means.axis_iter_mut(Axis(2)) {
            let traces: Vec<Vec<f32>> = neuron.rows().into_iter().map(|row| row.to_vec()).collect();
            let slices: Vec<&[f32]> = traces.iter().map(Vec::as_slice).collect();
            let fit = ConstantRate::fit(response, &slices)?;
            for (mut row, trace) in neuron.rows_mut().into_iter().zip(slices) {
                row.assign(&ArrayView1::from(&fit.infer(trace).expected));
            }
        }
        Ok(metrics::fit(means.view(), self.spikes.view())?.r2)
    }
}

/// Draws of the sampler for one trace, and their importance weights w = p(x, s) / q(s).
struct Draws {
    mean: Vec<f32>,
    mean_log_weight: f64,
    effective: f64,
}

impl Draws {
    fn of<const P: usize, S: Sensor>(
        model: &CountModel<P, S>,
        trace: Trace<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let n = trace.x.len();
        let mut sample = CountSample::new(n);
        let (mut mean, mut log_weights) = (vec![0.0; n], Vec::new());
        for _ in 0..N_DRAWS {
            let uniforms: Vec<f32> = (0..n)
                .map(|_| (rng.next_u32() >> 8) as f32 / 16_777_216.0)
                .collect();
            let chance = Chance {
                uniforms: &uniforms,
                normal: 0.0,
            };
            let log_q = model.sample(trace, chance, &mut sample);
            log_weights.push(log_joint(model, trace, &sample) - log_q);
            for (sum, expected) in mean.iter_mut().zip(&sample.expected) {
                *sum += expected / N_DRAWS as f32;
            }
        }
        let greatest = log_weights
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let weights = log_weights.iter().map(|log| (log - greatest).exp());
        let (sum, squares) =
            weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        Self {
            mean,
            mean_log_weight: log_weights.iter().sum::<f64>() / N_DRAWS as f64,
            effective: sum * sum / (squares * N_DRAWS as f64),
        }
    }
}

/// ln p(x, counts).
fn log_joint<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    trace: Trace<'_>,
    sample: &CountSample<P>,
) -> f64 {
    let precision = model.sensor.precision();
    let normaliser = 0.5 * (precision / std::f64::consts::TAU).ln();
    let frame = |bin: usize| {
        let (count, log_mean) = (
            f64::from(sample.counts[bin]),
            f64::from(trace.log_means[bin]),
        );
        let error = f64::from(trace.x[bin]) - model.sensor.fluorescence(sample.calcium[bin]);
        count * log_mean - log_mean.exp() - ln_factorial(count as usize) + normaliser
            - 0.5 * precision * error * error
    };
    (0..trace.x.len()).map(frame).sum()
}
