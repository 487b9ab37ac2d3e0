"""Makes the traces and answers of this folder with the public `oasis-deconv` package.

    pip install oasis-deconv==0.3.2 numpy==2.4.6
    python make.py

One file per case: a header with the parameters, then a line per frame: fluorescence, calcium,
spikes (in `example.tsv`: fluorescence, true spikes). Numbers are the shortest decimals that give back the same f64.
"""

from pathlib import Path

import numpy as np
from oasis.functions import (
    GetSn,
    constrained_oasisAR1,
    estimate_parameters,
    estimate_time_constant,
    gen_data,
    onnls,
)
from oasis.oasis_methods import oasisAR1, oasisAR2

FOLDER = Path(__file__).parent


def simulated(seed, g, n_bins, rate, noise, baseline=0.0):
    """A trace at rest, driven by unit-mean spikes, under white noise."""
    rng = np.random.default_rng(seed)
    calcium = np.zeros(n_bins)
    spikes = rng.poisson(rate, n_bins)
    for t in range(n_bins):
        calcium[t] = spikes[t] + (g * calcium[t - 1] if t else 0.0)
    return np.round(calcium + baseline + noise * rng.standard_normal(n_bins), 4)


def with_gaps(trace, seed, share, first=False):
    """The trace with single frames and one run of ten missing."""
    missing = np.random.default_rng(seed).random(len(trace)) < share
    missing[len(trace) // 3 :][:10] = True
    missing[0] = first
    trace = trace.copy()
    trace[missing] = np.nan
    return trace


def save(name, trace, g, lam=0.0, s_min=0.0):
    calcium, spikes = oasisAR1(trace.copy(), g, lam=lam, s_min=s_min)
    lines = [f"g\t{g}\tlambda\t{lam}\ts_min\t{s_min}"]
    lines += ["\t".join(repr(float(x)) for x in row) for row in zip(trace, calcium, spikes)]
    (FOLDER / f"{name}.tsv").write_text("\n".join(lines) + "\n")


usual = simulated(1, 0.95, 300, 0.05, 0.3)
save("plain", usual, 0.95)
save("lambda", usual, 0.95, lam=2.4)
save("s_min", usual, 0.95, s_min=0.5)
save("lambda_and_s_min", usual, 0.95, lam=0.3, s_min=0.7)
save("gaps", with_gaps(usual, 2, 0.1), 0.95)
save("gaps_lambda", with_gaps(usual, 3, 0.1), 0.95, lam=0.5)
save("gaps_s_min", with_gaps(usual, 4, 0.2), 0.95, s_min=0.5)
save("gap_at_the_start", with_gaps(usual, 5, 0.1, first=True), 0.95, lam=0.1, s_min=0.5)
save("below_zero", simulated(6, 0.9, 200, 0.03, 0.3, baseline=-0.5), 0.9, s_min=0.5)
save("busy", simulated(7, 0.75, 200, 0.5, 0.2), 0.75, s_min=0.5)
save("g_zero", simulated(8, 0.0, 100, 0.2, 0.3), 0.0, lam=0.1, s_min=0.5)
save("g_near_zero", with_gaps(simulated(9, 0.01, 100, 0.2, 0.3), 9, 0.1), 0.01, lam=0.1)
save("g_near_one", simulated(10, 0.9999, 400, 0.05, 0.5), 0.9999, lam=1.0)
save("g_near_one_s_min", with_gaps(simulated(11, 0.999, 400, 0.05, 0.5), 11, 0.1), 0.999, s_min=0.5)
save("one_frame", np.array([1.5]), 0.9, lam=1.0)
save("two_frames", np.array([1.5, 3.0]), 0.9, lam=1.0, s_min=0.5)

# The package's own example; of the answer only its quality is kept.
trace, calcium, spikes = (array[0] for array in gen_data([0.95], 0.3, N=1))
denoised, deconvolved = oasisAR1(trace, 0.95, lam=2.4)
quality = {
    "g": 0.95,
    "lambda": 2.4,
    "calcium_correlation": np.corrcoef(denoised, calcium)[0, 1],
    "spike_correlation": np.corrcoef(deconvolved, spikes)[0, 1],
    "residual_sum_of_squares": ((trace - denoised) ** 2).sum(),
}
lines = ["\t".join(f"{key}\t{float(value)!r}" for key, value in quality.items())]
lines += [f"{float(y)!r}\t{int(s)}" for y, s in zip(trace, spikes)]
(FOLDER / "example.tsv").write_text("\n".join(lines) + "\n")

# What the package estimates from its example, and solves under a noise constraint.
estimates = {}
for n_bins in (200, 700, 3000):
    estimates[f"noise_sd_mean_{n_bins}"] = GetSn(trace[:n_bins])
    estimates[f"noise_sd_median_{n_bins}"] = GetSn(trace[:n_bins], method="median")
    estimates[f"g_{n_bins}"] = estimate_parameters(trace[:n_bins], p=1)[0][0]
estimates["g_5_lags"] = estimate_time_constant(trace, p=1, sn=0.3, lags=5)[0]
estimates["g1"], estimates["g2"] = estimate_time_constant(trace, p=2)
estimates["lambda"] = constrained_oasisAR1(trace, 0.95, 0.3)[4]
_, _, b, _, lam = constrained_oasisAR1(trace + 1, 0.95, 0.3, optimize_b=True, max_iter=1000)
estimates["b_with_b"], estimates["lambda_with_b"] = b - 1, lam
# Ten events and 20 turns from a decay that is a third too fast.
fitted = constrained_oasisAR1(trace, 0.93, 0.3, optimize_b=True, optimize_g=10, max_iter=20)
estimates["g_fitted"] = fitted[3]
(FOLDER / "estimates").mkdir(exist_ok=True)
lines = [f"{key}\t{float(value)!r}" for key, value in estimates.items()]
(FOLDER / "estimates" / "example.tsv").write_text("\n".join(lines) + "\n")

# AR(2). The package knows no initial condition: a cold start leaves none.
trace = gen_data([1.7, -0.712], 0.5, T=400, N=1)[0][0]
trace[:30] = -1
(FOLDER / "ar2").mkdir(exist_ok=True)


def save_ar2(name, calcium, spikes, lam, s_min=0.0):
    lines = [f"g1\t1.7\tg2\t-0.712\tlambda\t{lam}\ts_min\t{s_min}"]
    lines += ["\t".join(repr(float(x)) for x in row) for row in zip(trace, calcium, spikes)]
    (FOLDER / "ar2" / f"{name}.tsv").write_text("\n".join(lines) + "\n")


for name, lam in (("plain", 0.0), ("lambda", 1.0)):
    # One window over all frames makes the package's answer that of the whole problem.
    save_ar2(name, *onnls(trace, [1.7, -0.712], lam=lam, shift=400, window=400, tol=1e-12), lam)
for name, lam, s_min in (("s_min", 0.0, 0.5), ("lambda_and_s_min", 1.0, 0.8)):
    save_ar2(name, *oasisAR2(trace.copy(), 1.7, -0.712, lam=lam, s_min=s_min), lam, s_min)
