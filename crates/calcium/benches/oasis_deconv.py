"""Times the public `oasis-deconv` package on the traces of `oasis.rs`: one core, float32.

    pip install oasis-deconv==0.3.2 numpy
    python benches/oasis_deconv.py

`cargo bench -p calcium` times ours.
"""

import time

import numpy as np
from oasis.oasis_methods import oasisAR1, oasisAR1_f32

N_TRACES, N_BINS, G = 64, 30_000, 0.95

rng = np.random.default_rng(1)
spikes = (rng.random((N_TRACES, N_BINS)) < 1 / 60).astype(float)
calcium = np.zeros_like(spikes)
for t in range(N_BINS):
    calcium[:, t] = spikes[:, t] + (G * calcium[:, t - 1] if t else 0.0)
traces = calcium + 0.3 * rng.standard_normal(calcium.shape)

for name, solve, kind in (
    ("float64", oasisAR1, np.float64),
    ("float32", oasisAR1_f32, np.float32),
):
    rows = [np.ascontiguousarray(trace, dtype=kind) for trace in traces]
    for setting in ({}, {"lam": 2.4}, {"s_min": 0.5}):
        best = np.inf
        for _repeat in range(10):
            start = time.process_time()
            for row in rows:
                solve(row, G, **setting)
            best = min(best, time.process_time() - start)
        print(f"{name} {setting or 'plain'}: {traces.size / best / 1e6:.1f} million frames per second")
