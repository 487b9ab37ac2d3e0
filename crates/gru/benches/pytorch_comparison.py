"""Training steps of LFADS, alone and driven, and of ladder LFADS in PyTorch beside this workspace's, on the same cores in one run.

    pip install torch
    python crates/gru/benches/pytorch_comparison.py [--threads N] [--steps N]

The PyTorch models are written the usual way: nn.GRU for the encoders; the generator, the controller that infers its inputs,
and the ladder's shallow level, as loops over time in Python. Sizes are those of Table 1 (batch 65, 100 bins, 30 neurons).
Needs nothing but torch and cargo.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

BINS, TRIALS, NEURONS = 100, 65, 30
HIDDEN, FACTORS = 64, 3
SHALLOW, LATENT = 128, 100
CONTROL, CONTROL_ENCODER, INPUTS = 64, 32, 2
CLIP = 5.0


class Deep(nn.Module):
    """Encoder, initial condition, generator, factors and log-rates."""

    def __init__(self, n_inputs=1):
        super().__init__()
        self.encoder = nn.GRU(NEURONS, HIDDEN, bidirectional=True)
        self.initial = nn.Parameter(torch.zeros(2, 1, HIDDEN))
        self.posterior = nn.Linear(2 * HIDDEN, 2 * HIDDEN)
        self.generator = nn.GRUCell(n_inputs, HIDDEN)
        self.factors = nn.Linear(HIDDEN, FACTORS, bias=False)
        self.rates = nn.Linear(FACTORS, NEURONS)

    def encode(self, x):
        """A sample of the initial condition and its divergence from N(0, 0.1)."""
        hidden = (torch.rand_like(x) < 0.3).float()
        _, last = self.encoder(x * (1 - hidden) / 0.7, self.initial.expand(2, x.shape[1], HIDDEN).contiguous())
        last = F.dropout(torch.cat([last[0], last[1]], 1), 0.1)
        mean, log_variance = self.posterior(last).chunk(2, 1)
        ic = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        ratio = torch.exp(log_variance) / 0.1
        divergence = 0.5 * (ratio + mean**2 / 0.1 - 1 - torch.log(ratio)).sum()
        return ic, divergence, hidden / 0.3

    def generate(self, state, inputs):
        """One step of the generator."""
        return self.generator(inputs, state).clamp(-CLIP, CLIP)

    def l2(self):
        return 0.5 * 250 * (self.generator.weight_hh**2).mean()


class Lfads(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = Deep()

    def loss(self, counts):
        state, divergence, weights = self.deep.encode(counts)
        nothing = counts.new_zeros(counts.shape[1], 1)
        states = []
        for _ in range(BINS):
            state = self.deep.generate(state, nothing)
            states.append(state)
        factors = self.deep.factors(F.dropout(torch.stack(states), 0.1))
        log_counts = self.deep.rates(factors) - 2.3
        log_prob = counts * log_counts - torch.exp(log_counts) - torch.lgamma(counts + 1)
        return (divergence - (weights * log_prob).sum()) / counts.shape[1] + self.deep.l2()


class DrivenLfads(nn.Module):
    """Inputs from a controller that hears its encoder, a bin away, and the factors of the bin before."""

    def __init__(self):
        super().__init__()
        self.deep = Deep(INPUTS)
        self.encoder = nn.GRU(NEURONS, CONTROL_ENCODER, bidirectional=True)
        self.controller = nn.GRUCell(2 * CONTROL_ENCODER + FACTORS, CONTROL)
        self.posterior = nn.Linear(CONTROL, 2 * INPUTS)

    def loss(self, counts):
        trials = counts.shape[1]
        state, divergence, weights = self.deep.encode(counts)
        ahead, back = self.encoder(counts)[0].chunk(2, 2)
        heard = torch.cat([F.pad(ahead, (0, 0, 0, 0, 1, 0))[:-1], F.pad(back, (0, 0, 0, 0, 0, 1))[1:]], 2)
        control, factors = counts.new_zeros(trials, CONTROL), self.deep.factors(state)
        log_counts = []
        for t in range(BINS):
            control = self.controller(torch.cat([heard[t], factors], 1), control).clamp(-CLIP, CLIP)
            mean, log_variance = self.posterior(control).chunk(2, 1)
            inputs = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            ratio = torch.exp(log_variance) / 0.1
            divergence = divergence + 0.5 * (ratio + mean**2 / 0.1 - 1 - torch.log(ratio)).sum()
            state = self.deep.generate(state, inputs)
            factors = self.deep.factors(F.dropout(state, 0.1))
            log_counts.append(self.deep.rates(factors) - 2.3)
        log_counts = torch.stack(log_counts)
        log_prob = counts * log_counts - torch.exp(log_counts) - torch.lgamma(counts + 1)
        return (divergence - (weights * log_prob).sum()) / trials + self.deep.l2()


class Ladder(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = Deep()
        self.encoder = nn.GRU(NEURONS, SHALLOW, bidirectional=True)
        self.controller = nn.GRUCell(2 * SHALLOW, SHALLOW)
        self.posterior = nn.Linear(SHALLOW + NEURONS + FACTORS, 2 * LATENT)
        self.spikes = nn.Linear(FACTORS + LATENT, NEURONS)
        self.log_noise = nn.Parameter(torch.zeros(NEURONS))

    def loss(self, x):
        trials = x.shape[1]
        state, divergence, weights = self.deep.encode(x)
        encoded, _ = self.encoder(x)
        nothing, control = x.new_zeros(trials, 1), x.new_zeros(trials, SHALLOW)
        spikes, calcium = x.new_zeros(trials, NEURONS), x.new_zeros(trials, NEURONS)
        factors = self.deep.factors(state)
        loss = divergence
        for t in range(BINS):
            control = self.controller(encoded[t], control).clamp(-CLIP, CLIP)
            mean, log_variance = self.posterior(torch.cat([control, spikes, factors], 1)).chunk(2, 1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            ratio = torch.exp(log_variance) / 0.1
            loss = loss + 0.5 * (ratio + mean**2 / 0.1 - 1 - torch.log(ratio)).sum()
            state = self.deep.generate(state, nothing)
            factors = self.deep.factors(F.dropout(state, 0.1))
            spikes = F.relu(torch.exp(self.spikes(torch.cat([factors, z], 1)).clamp(max=3.0)) - 1)
            calcium = 0.75 * calcium + spikes
            log_counts = self.deep.rates(factors) - 2.3
            log_prob = spikes * log_counts - torch.exp(log_counts) - torch.lgamma(spikes + 1)
            error = (x[t] - calcium) * torch.exp(-self.log_noise)
            loss = loss + 0.5 * (error**2).sum() + trials * self.log_noise.sum() - (weights[t] * log_prob).sum()
        return loss / trials + self.deep.l2()


def median_step_ms(model, x, n_steps):
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, eps=0.1)
    times = []
    for _ in range(n_steps + 3):
        start = time.perf_counter()
        optimiser.zero_grad()
        model.loss(x).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 200.0)
        optimiser.step()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[3:])


def ours(threads):
    """The same steps by this workspace's program."""
    root = Path(__file__).resolve().parents[3]
    command = ["cargo", "run", "--release", "--quiet", "--package", "bench", "--", "performance", "--steps"]
    command += ["--threads", str(threads)]
    return json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    counts = torch.poisson(torch.full((BINS, TRIALS, NEURONS), 0.13))
    mine = ours(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads; median training step, ms")
    print(f"{'model':12} {'PyTorch':>9} {'here':>9} {'ratio':>7}")
    for name, model in [("lfads", Lfads()), ("driven-lfads", DrivenLfads()), ("ladder-lfads", Ladder())]:
        theirs = median_step_ms(model, counts, args.steps)
        here = mine[name]["step_ms"]
        print(f"{name:12} {theirs:9.1f} {here:9.1f} {theirs / here:7.1f}")


if __name__ == "__main__":
    main()
