"""How fast devices answer: ``python tests/bench_conform.py``.

Each figure is the best of several runs, by the clock: code under test runs in a process of its own. Needs a compiler
for this machine, and for the emulated Cortex-M0 the packages of ``intnn[targets]``; figures depend on the compiler,
which is printed. Every output is compared with the reference.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from bench_verify import network

import intnn
from intnn import Network
from intnn.conform.device import RUN, Device
from intnn.conform.source import c_source

ROOT = Path(__file__).parents[1]


def seconds(device: Device, net: Network, rows: int, runs: int) -> float:
    """The least time that ``rows`` random inputs take."""
    low, high = net.input.min, net.input.max
    x = np.random.default_rng(1).integers(low, high, (rows, net.sizes[0]), endpoint=True)
    expected = intnn.run(net, x, engine="fast")
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        answers = device.ask(RUN, x)
        times.append(time.perf_counter() - start)
        assert not answers.failures
        assert (answers.outputs == expected).all()
    return min(times)


def measure(net: Network, target: str, optimize: str, rows: int, runs: int = 5) -> tuple[float, str]:
    """Seconds that ``rows`` inputs through the emitted C take, and with what it was compiled."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.c"
        path.write_text(intnn.emit_c(net))
        with c_source(net, str(path), target=target, optimize=optimize) as device:
            return seconds(device, net, rows, runs), device.facts["compiler"]


def host() -> str:
    """The first compiler for this machine."""
    from intnn.targets.compilers import find
    from intnn.targets.host import HOST_COMPILERS

    return next(name for name in HOST_COMPILERS if find(name))


def main() -> None:
    small, pose = network(6, 16, 16, 6), intnn.load(ROOT / "docs" / "examples" / "pose.json")
    rows = 200_000
    taken, compiler = measure(small, host(), "2", rows)
    print(f"shared library, 6-16-16-6             {rows / taken:10,.0f} inferences a second   {compiler}")
    for net, name in ((small, "6-16-16-6"), (pose, "-".join(map(str, pose.sizes)) + " (pose.json)")):
        taken, compiler = measure(net, "cortex-m0", "2", 10_000)
        print(f"emulated Cortex-M0, {name:22}{taken:7.2f} s for 10,000 inputs   {compiler}")


if __name__ == "__main__":
    main()
