"""Writes pytorch.json: outputs and gradients of nn.GRU and of the Poisson log-probability.

Run as `pip install torch==2.15.0 && python pytorch.py` in this folder.
"""

import json

import torch

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
BINS, TRIALS, INPUTS, HIDDEN = 5, 3, 4, 6


def flat(tensor):
    return [float(f"{value:.12g}") for value in tensor.detach().flatten()]


def by_direction(gru, name, transposed):
    """One parameter of both directions, rows being gate inputs rather than gates."""
    parts = [getattr(gru, f"{name}_l0{suffix}") for suffix in ("", "_reverse")]
    values = [(part, part.grad) for part in parts]
    turn = (lambda t: t.T.contiguous()) if transposed else (lambda t: t)
    return [sum((flat(turn(pair[i])) for pair in values), []) for i in (0, 1)]


gru = torch.nn.GRU(INPUTS, HIDDEN, bidirectional=True)
x = torch.randn(BINS, TRIALS, INPUTS, requires_grad=True)
h0 = torch.randn(2, TRIALS, HIDDEN, requires_grad=True)
upstream = torch.randn(BINS, TRIALS, 2 * HIDDEN)
states, _ = gru(x, h0)
(states * upstream).sum().backward()
record = {
    "torch": torch.__version__,
    "n_bins": BINS,
    "n_trials": TRIALS,
    "n_inputs": INPUTS,
    "hidden": HIDDEN,
    "upstream": flat(upstream),
    "states": flat(states),
    "x": [flat(x), flat(x.grad)],
    "h0": [flat(h0), flat(h0.grad)],
    "w_in": by_direction(gru, "weight_ih", True),
    "w_rec": by_direction(gru, "weight_hh", True),
    "b_in": by_direction(gru, "bias_ih", False),
    "b_rec": by_direction(gru, "bias_hh", False),
}

counts = torch.tensor([0.0, 0.01, 0.5, 1.0, 2.0, 3.7, 7.999, 8.0, 8.5, 20.0, 137.2, 5e4], requires_grad=True)
log_mean = torch.linspace(-6.0, 5.0, len(counts)).requires_grad_()
log_prob = counts * log_mean - log_mean.exp() - torch.lgamma(counts + 1)
log_prob.sum().backward()
record["poisson"] = {
    "log_prob": flat(log_prob),
    "log_mean": [flat(log_mean), flat(log_mean.grad)],
    "counts": [flat(counts), flat(counts.grad)],
}

with open("pytorch.json", "w") as file:
    json.dump(record, file, indent=0)
    file.write("\n")
