//! Frames deconvolved per second: one core, then all.

use std::hint::black_box;

use calcium::Ar1;
use calcium::oasis::{Ar1Problem, Workspace};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const N_TRACES: usize = 64;
const N_BINS: usize = 30_000;
const G: f64 = 0.95;

/// A portable random stream (Vigna's splitmix64), uniform in [0, 1).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Unit spikes at 1/60 per frame, noise SD 0.3: the setting of the OASIS paper's first figure.
fn traces(ar: Ar1) -> Vec<f32> {
    let mut uniform = Uniform(1);
    let mut traces = Vec::with_capacity(N_TRACES * N_BINS);
    for _trace in 0..N_TRACES {
        let spikes: Vec<f32> = (0..N_BINS)
            .map(|_bin| {
                if uniform.next() < 1.0 / 60.0 {
                    1.0
                } else {
                    0.0
                }
            })
            .collect();
        traces.extend(ar.convolve(&spikes).iter().map(|calcium| {
            // The sum of twelve uniforms has variance 1.
            let noise = (0..12).map(|_draw| uniform.next()).sum::<f64>() - 6.0;
            calcium + (0.3 * noise) as f32
        }));
    }
    traces
}

fn oasis(criterion: &mut Criterion) {
    let ar = Ar1::new(G).expect("a constant in range");
    let plain = Ar1Problem::new(ar);
    let problems = [
        ("plain", plain),
        (
            "lambda",
            plain.with_lambda(2.4).expect("a constant in range"),
        ),
        ("s_min", plain.with_s_min(0.5).expect("a constant in range")),
    ];
    let traces = traces(ar);
    let mut workspace = Workspace::default();
    let (mut calcium, mut spikes) = (vec![0.0; N_BINS], vec![0.0; N_BINS]);

    let mut group = criterion.benchmark_group("oasis_ar1");
    group.throughput(Throughput::Elements(traces.len() as u64));
    group.sample_size(20);
    for (name, problem) in problems {
        group.bench_function(format!("{name}/one_core"), |bencher| {
            bencher.iter(|| {
                for trace in traces.chunks(N_BINS) {
                    problem
                        .deconvolve_into(
                            black_box(trace),
                            &mut calcium,
                            &mut spikes,
                            &mut workspace,
                        )
                        .expect("finite traces");
                }
            });
        });
    }
    let (mut calcium, mut spikes) = (vec![0.0; traces.len()], vec![0.0; traces.len()]);
    group.bench_function("plain/all_cores", |bencher| {
        bencher.iter(|| {
            plain
                .deconvolve_many_into(black_box(&traces), N_BINS, &mut calcium, &mut spikes)
                .expect("finite traces");
        });
    });
    group.finish();
}

criterion_group!(benches, oasis);
criterion_main!(benches);
