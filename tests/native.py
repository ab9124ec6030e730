"""What the tests of native devices share: networks of every kind, inputs, and C that misbehaves on one input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import intnn
from intnn import Activation, Dense, Fixed, Network
from intnn.conform.device import RUN, Answers, Device, Int64
from intnn.model import Q31
from intnn.targets.compilers import Compiler, find
from intnn.targets.host import HOST_COMPILERS


def _network(source: Activation, sizes: list[int], rules: list[Any], outputs: list[Activation]) -> Network:
    random = np.random.default_rng(len(sizes) + sizes[0])
    layers = []
    for inputs, count, rule, output in zip(sizes, sizes[1:], rules, outputs, strict=False):
        weights, bias = random.integers(-128, 128, (count, inputs)), random.integers(-500, 500, count)
        layers.append(Dense(weights, bias, rule, output))
    return Network(source, tuple(layers))


NETWORKS = {
    "int8 fixed": _network(
        Activation("int8", 3),
        [5, 6, 3],
        [Fixed.half_up(14, 90), Fixed(13, 100, 70, 2, 1)],
        [Activation("int8", -7, -7), Activation("int8", 10)],
    ),
    "uint8 q31": _network(
        Activation("uint8", 120),
        [4, 5, 4],
        [Q31(1518500250, -7, "double"), Q31(np.array([1 << 30, 1700000001, 0, 1 << 30]), -6, "single")],
        [Activation("uint8", 130, 130), Activation("uint8", 128)],
    ),
    "int16 q31": _network(
        Activation("int16", 0, -2048, 2047), [3, 4, 2], [Q31(1300000000, -4, "upup")] * 2, [Activation("int16")] * 2
    ),
    "mixed": _network(
        Activation("int16", -5, 0, 4095),
        [6, 4, 3, 2],
        [Fixed.half_up(12, 1), Q31(1234567890, -6, "upup"), Fixed.floor(3, 5, 1)],
        [Activation("int8", -128, -128), Activation("uint8", 9), Activation("int16", 100)],
    ),
}

ROWS, FATAL = 40, 17


def inputs(net: Network, rows: int = 200) -> Int64:
    """The ends of the range, and random rows."""
    low, high = net.input.min, net.input.max
    random = np.random.default_rng(7).integers(low, high, (rows - 2, net.sizes[0]), endpoint=True)
    return np.concatenate([np.repeat([[low], [high]], net.sizes[0], axis=1), random])


def require_right(device: Device, net: Network, rows: int = 200) -> None:
    """The device gives just the reference's outputs, and no failure."""
    x = inputs(net, rows)
    answers = device.ask(RUN, x)
    assert (answers.failures, answers.notes) == ({}, {})
    assert answers.outputs.tolist() == intnn.run(net, x).tolist()


def ask_fatal(device: Device, net: Network) -> Answers:
    """What a device answers that misbehaves on row :data:`FATAL` of :data:`ROWS`; all others have to be right."""
    x = fatal_inputs(net)
    answers = device.ask(RUN, x)
    expected = intnn.run(net, x).astype(np.int64)
    expected[list(answers.failures)] = 0
    assert answers.outputs.tolist() == expected.tolist()
    assert set(answers.failures) <= {FATAL}
    return answers


def fatal_inputs(net: Network) -> Int64:
    """Inputs of which row :data:`FATAL` alone begins with 100, 101."""
    x = inputs(net, ROWS)
    x[(x[:, 0] == 100) & (x[:, 1] == 101), 1] = 0
    x[FATAL, :2] = 100, 101
    return x


def misbehaving(net: Network, deeds: dict[str, str], includes: str = "", helpers: str = "") -> str:
    """C with a function ``NAME`` for each of ``deeds``: it computes ``net``, but for an input that begins with
    100, 101, for which it does the deed instead."""
    types = f"const {net.input.type}_t *x, {net.output.type}_t *y"
    functions = [
        f"void {name}({types});\nvoid {name}({types}) {{\n"
        f"    if (x[0] == 100 && x[1] == 101) {{ {deed} return; }}\n    net_run(x, y);\n}}\n"
        for name, deed in deeds.items()
    ]
    return f"{includes}\n{intnn.emit_c(net)}\n{helpers}\n{''.join(functions)}"


def host_compiler() -> Compiler:
    """The first compiler for this machine; without any, the test is skipped."""
    for name in HOST_COMPILERS:
        found = find(name)
        if found is not None:
            return found
    pytest.skip("no compiler for this machine (pip install ziglang)")
