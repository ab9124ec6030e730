"""For the tests of arithmetic that is printed: a calculator that reads it, and networks with every rule."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np

from intnn import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.foreign import FOREIGN, Foreign


def away(v: float) -> int:
    q = Fraction(v)
    size: int = math.floor(abs(q) + Fraction(1, 2))
    return size if q > 0 else -size


def low_bits(bits: int, signed: bool) -> Any:
    def wrap(v: int) -> int:
        rest = v % (1 << bits)
        return rest - (1 << bits) if signed and rest >= 1 << bits - 1 else rest

    return wrap


NAMES = {
    "float32": np.float32,
    "rint": round,
    "away": away,
    "trunc": math.trunc,
    "min": min,
    "max": max,
    **{f"int{n}": low_bits(n, True) for n in (8, 16, 32)},
    **{f"uint{n}": low_bits(n, False) for n in (8, 16, 32)},
}


def is_true(expression: str, value: int | float) -> bool:
    """Whether ``expression = value``, in kind too; read by Python, with nothing but the names above."""
    result = eval(expression, {"__builtins__": {}}, NAMES)
    if isinstance(value, int):
        return isinstance(result, int) and result == value
    return not isinstance(result, int) and float(result) == value


def printed(text: str) -> list[tuple[str, int | float]]:
    """The lines ``expression = value`` of a text."""
    found = re.findall(r"^ +.{19} (.+) = (\S+)$", text, re.M)
    return [(expression, float(v) if re.search(r"[.en]", v) else int(v)) for expression, v in found]


def layer(rng: np.random.Generator, shape: tuple[int, int], rule: Any, output: Activation, one: bool) -> Dense:
    """Random weights and biases; ``one`` scale for all neurons, or one for each."""
    scale = (rng.random(shape[0]) / 64).astype(np.float32).astype(np.float64)
    scales = Scales(0.5, 0.0078125, 3.0) if one else Scales(0.25, scale, 2.5)
    return Dense(rng.integers(-128, 128, shape), rng.integers(-900, 900, shape[0]), rule, output, scales)


def networks() -> dict[str, Network]:
    """Two layers each, with every rule, rounding and type, per tensor and per channel."""
    rng = np.random.default_rng(4)
    relu, wide = Activation("int8", -100, -100), Activation("int16", 77, -20000, 20000)
    byte = Activation("uint8", 130, 3, 250)
    per_channel = np.array([1 << 30, 1518500250, (1 << 31) - 1, 0, 1400000000])
    rules: dict[str, Any] = {
        "fixed": Fixed(np.array([9, 10, 8, 11, 9]), np.array([256, 0, 255, 1024, 17]), 117, 3, 4),
        "preset": Fixed.half_up(9),
        **{
            f"q31 {name}": Q31(per_channel, np.array([-9, -8, 0, -7, -10]), name)
            for name in ("single", "double", "upup")
        },
        **{f"left {name}": Q31(1 << 30, 2, name) for name in ("single", "double", "upup")},
        **{f"foreign {name}": Foreign(name) for name in FOREIGN},
    }
    found = {}
    for name, rule in rules.items():
        for kind, (source, hidden, output) in {"int8": (relu, wide, relu), "uint8": (byte, relu, byte)}.items():
            second = Q31(1518500250, -11, "double") if name.startswith("fixed") else Fixed.half_up(14, 3)
            one = kind == "int8"
            layers = (layer(rng, (5, 4), rule, hidden, one), layer(rng, (4, 5), second, output, one))
            found[f"{name}, {kind}"] = Network(source, layers, name=name)
    return found


NETWORKS = networks()


def rows(net: Network, count: int = 6) -> Any:
    """Both ends of the declared range, then ``count`` random rows."""
    low, high = net.input.min, net.input.max
    rng = np.random.default_rng(1)
    return np.vstack(
        [[[low] * net.sizes[0], [high] * net.sizes[0]], rng.integers(low, high + 1, (count, net.sizes[0]))]
    )
