"""How long proofs and runs of C take: ``python tests/bench_verify.py``.

Each figure is the fastest of several runs in this process, reading the text included, on three data models. It is the
processor's time, all of it in one thread, so that other work on the machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import intnn
from intnn import Activation, Dense, Fixed, Network
from intnn.ccheck.batch import evaluate
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import read


def network(*sizes: int) -> Network:
    """An int8 network of these sizes with random weights and half-up rounding."""
    random = np.random.default_rng(0)
    layers = []
    for inputs, outputs in pairwise(sizes):
        shift = 10 + inputs.bit_length() // 2
        rule = Fixed.half_up(shift, 4000 // inputs + 1)
        weights, bias = random.integers(-128, 128, (outputs, inputs)), random.integers(-2000, 2000, outputs)
        layers.append(Dense(weights, bias, rule, Activation("int8", -128)))
    return Network(Activation(), tuple(layers))


def fastest(function: Callable[[], object], runs: int) -> float:
    """The least processor time that ``function`` took, in seconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def proof_time(net: Network, runs: int) -> float:
    """Seconds that proving the emitted C takes."""
    source = intnn.emit_c(net)
    assert intnn.verify_c(source, net).proved
    return fastest(lambda: intnn.verify_c(source, net), runs)


def batch_time(net: Network, rows: int, runs: int) -> float:
    """Seconds that ``rows`` inputs through the emitted C take."""
    source = intnn.emit_c(net)
    x = np.random.default_rng(1).integers(-128, 128, (rows, net.sizes[0]))
    assert (evaluate(read(source), net, x, MODELS["int32"]).outputs == intnn.run(net, x)).all()
    return fastest(lambda: evaluate(read(source), net, x, MODELS["int32"]), runs)


def growth() -> list[tuple[int, float]]:
    """Weights and seconds of proofs of 64-neuron layers with more and more inputs."""
    return [(64 * inputs, proof_time(network(inputs, 64), 3)) for inputs in (128, 256, 512, 1024)]


def main() -> None:
    for sizes, runs in (((6, 16, 16, 6), 20), ((6, 32, 32, 6), 10), ((64, 64, 32, 10), 3), ((784, 128, 64, 10), 1)):
        print(f"proof of {'-'.join(map(str, sizes)):>14}    {proof_time(network(*sizes), runs):8.3f} s")
    print(f"10,000 inputs through 6-16-16-6  {batch_time(network(6, 16, 16, 6), 10_000, 10):6.3f} s")
    for weights, seconds in growth():
        print(f"proof of {weights:6} weights    {seconds:8.3f} s, {1e6 * seconds / weights:5.1f} microseconds a weight")


if __name__ == "__main__":
    main()
