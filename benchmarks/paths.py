"""How much training lowers the barrier between the embedded network and itself with permuted hidden units.

python benchmarks/paths.py [--samples 600] [--seed 0]

The two compute the same function. Half of the samples train the path, and each half judges it. Rates are in units of
the root-mean-square distance of the ends in an entry: of each tensor by itself, as the library has it, or of all.
"""

import argparse

import numpy as np
import torch

from geomlab import api
from geomlab.data.batches import Batches
from geomlab.data.condition import parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.landscape import paths
from geomlab.landscape.numbers import barrier, with_interval
from geomlab.landscape.slices import at_each
from geomlab.rng import generator
from geomlab.subject import Subject

T = np.linspace(0, 1, 21)
CASES = [
    *(("bezier", 100, rate, "tensor") for rate in (0.003, 0.01, 0.02, 0.05, 0.2)),
    *(("bezier", 100, rate, "all") for rate in (0.02, 0.05, 0.2)),
    *(("piecewise", 100, rate, "tensor") for rate in (0.01, 0.02, 0.05)),
    ("bezier", 200, 0.02, "tensor"),
]


def permuted(network: Subject, seed: int) -> Subject:
    """The same function with the hidden units of every MLP in another order."""
    weights, random = dict(network.weights), generator(seed, "permuted")
    for name in [name for name in weights if name.endswith("mlp.c_fc.weight")]:
        order = torch.randperm(len(weights[name]), generator=random)
        bias, out = (name.replace("c_fc.weight", other) for other in ("c_fc.bias", "c_proj.weight"))
        weights |= {name: weights[name][order], bias: weights[bias][order], out: weights[out][:, order]}
    return network.at(weights)


def rise(path: paths.Path, inputs: Batches) -> str:
    found = at_each((path.at(t) for t in T.tolist()), {"": inputs})[""]
    number = with_interval(lambda loss: barrier(T, loss, 0, 1), found)
    return f"{number.value:.3f} [{max(number.low, 0):.3f}, {number.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    end = api.load(checkpoint_path("ft"))
    start, names = permuted(end, asked.seed), list(end.weights)
    glyphs = open_source("glyphs")
    (clean,) = parse_conditions(["clean"], glyphs, n=asked.samples, seed=asked.seed, batch_size=256)
    inputs = clean.clean(end)
    drawn = torch.randperm(len(inputs), generator=generator(asked.seed, "halves"))
    learnt, judged = (inputs.take(rows) for rows in drawn.tensor_split(2))
    line = paths.straight("linear", start, end, names)
    print(f"n = {len(learnt)} + {len(judged)}; linear: {rise(line, learnt)} and {rise(line, judged)}")
    apart = paths._apart
    size = sum(weight.numel() for weight in end.weights.values())
    for kind, steps, rate, per in CASES:
        paths.RATE = rate
        paths._apart = apart if per == "tensor" else lambda *_: line.distance / size**0.5
        random = generator(asked.seed, kind)
        path, _ = paths.trained(paths.straight(kind, start, end, names), learnt, random, steps=steps)
        seen, other = rise(path, learnt), rise(path, judged)
        print(
            f"{kind}, {steps} steps, rate {rate} of {per}: {seen} where trained, {other} on others",
            flush=True,
        )


if __name__ == "__main__":
    main()
