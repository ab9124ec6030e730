"""The demonstration: it fits one screen, and its figures are those of plain int64 and float arithmetic.

The rules below come from the descriptions of the engines and share nothing with the package: the model file is read
as JSON, and an accumulator is a product of int64 matrices.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import intnn
from intnn.demo.rounding import INK, bundled, rounding

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "intnn" / "demo"
RIGHT = 291  # of 300; the float network the integers come from has 292

Array = Any  # of int64; NumPy's stubs lose the type at //


class Factor(NamedTuple):
    """From accumulator to output: multiplier and right shift after the high multiply; and the scale in float."""

    multiplier: int
    shift: int
    input: float
    weights: float
    output: float

    @property
    def fp32(self) -> np.float32:
        return np.float32(self.input) * np.float32(self.weights) / np.float32(self.output)


def double(acc: Array, f: Factor) -> Array:
    high = (acc * f.multiplier + 2**30) // 2**31
    magnitude = (np.abs(high) + 2**f.shift // 2) // 2**f.shift
    return np.sign(high) * magnitude


def upup(acc: Array, f: Factor) -> Array:
    return ((acc * f.multiplier + 2**30) // 2**31 + 2**f.shift // 2) // 2**f.shift


def single(acc: Array, f: Factor) -> Array:
    return (acc * f.multiplier + 2 ** (30 + f.shift)) // 2 ** (31 + f.shift)


def f64away(acc: Array, f: Factor) -> Array:
    v = acc * f.input * f.weights / f.output
    return (np.sign(v) * np.floor(np.abs(v) + 0.5)).astype(np.int64)


def fp32even(acc: Array, f: Factor) -> Array:
    return np.round(acc.astype(np.float32) * f.fp32).astype(np.int64)


def trunc0(acc: Array, f: Factor) -> Array:
    return (acc.astype(np.float32) * f.fp32).astype(np.int64)


RULES: dict[str, Callable[[Array, Factor], Array]] = {
    rule.__name__: rule for rule in (double, upup, fp32even, f64away, single, trunc0)
}
DOCUMENT = json.loads((FOLDER / "digits.json").read_text())
NET, IMAGES, LABELS = bundled()


@cache
def text() -> str:
    """What is printed."""
    return rounding()


def factor(layer: dict[str, Any]) -> Factor:
    q = layer["requantize"]
    scales = {name: float.fromhex(value) for name, value in layer["scales"].items()}
    return Factor(q["multiplier"], -q["exponent"], **scales)


def accumulate(layer: dict[str, Any], x: Array) -> Array:
    return x @ np.array(layer["weights"], np.int64).T + np.array(layer["bias"], np.int64)


def logits(rule: Callable[[Array, Factor], Array]) -> Array:
    x = IMAGES.astype(np.int64) - DOCUMENT["input"]["zero_point"]
    for layer in DOCUMENT["layers"]:
        out = layer["output"]
        y = rule(accumulate(layer, x), factor(layer)) + out["zero_point"]
        x = np.clip(y, out["min"], out["max"]) - out["zero_point"]
    return x + out["zero_point"]


def found(pattern: str) -> list[int]:
    """The integers that ``pattern`` captures in the demonstration's text."""
    match = re.search(pattern, text())
    assert match, f"{pattern} is not in:\n{text()}"
    return [int(v) for v in match.groups()]


def test_fits_one_screen() -> None:
    lines = text().split("\n")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 96
    assert text().isascii()
    assert all(line == line.rstrip() for line in lines)


def test_says_the_same_again() -> None:
    assert rounding() == text()


def test_network_is_what_its_file_states() -> None:
    net = intnn.load(FOLDER / "digits.json")  # checks the hash and proves the network
    assert intnn.dumps(net) == (FOLDER / "digits.json").read_bytes()
    assert net.sizes == (64, 16, 10)
    assert f"sha256 {DOCUMENT['sha256'][:16]}..." in text()


def test_accuracy_in_plain_integers() -> None:
    expected = logits(double)
    np.testing.assert_array_equal(intnn.run(NET, IMAGES), expected)
    assert int((expected.argmax(axis=1) == LABELS).sum()) == RIGHT
    assert found(r"right on (\d+) of (\d+) held-out") == [RIGHT, len(LABELS)] == [RIGHT, 300]


def test_shown_image_and_its_logits() -> None:
    image, label, answer = found(r"image (\d+), an? (\d); the network answers (\d)")
    row = logits(double)[image]
    assert found("logit " + r" +(-?\d+)" * 10) == row.tolist()
    assert (label, answer) == (LABELS[image], row.argmax())
    drawn = [line[2:18].ljust(16)[::2] for line in text().split("\n")[:8]]
    order = np.array([[INK.index(c) for c in line] for line in drawn]).ravel()
    pixels = IMAGES[image].astype(int)
    assert np.all(np.abs(order * 16 - pixels * (len(INK) - 1)) <= 8)  # the nearest of ten shades


def test_headroom_by_plain_sums() -> None:
    expected = []
    for layer, reach in zip(DOCUMENT["layers"], (16, 255), strict=True):  # inputs less zero point: 0 to reach
        sums = []
        for weights, bias in zip(layer["weights"], layer["bias"], strict=True):
            summands = [bias, *(reach * w for w in weights)]
            sums += [sum(v for v in summands if v > 0), -sum(v for v in summands if v < 0) - 1]
        expected.append(31 - max(sums).bit_length())
    assert found(r"(\d+) bits in layer 0, (\d+) bits in layer 1") == expected


def test_images_whose_logits_differ() -> None:
    own = logits(double)
    other_answer = np.zeros(len(own), bool)
    for profile, rule in RULES.items():
        theirs = logits(rule)
        other_answer |= theirs.argmax(axis=1) != own.argmax(axis=1)
        expected = int((theirs != own).any(axis=1).sum())
        assert found(rf" {profile} +(\d+) of (\d+)") == [expected, len(own)], profile
    assert found(r"changes on (\d+) of") == [int(other_answer.sum())]


def test_accumulators_and_every_engines_integer() -> None:
    accs = found(r"acc (-?\d+) +acc (-?\d+) +acc (-?\d+)")
    shown = re.findall(r"is (-?[\d.]+)", text())
    image, neuron = found(r"image (\d+),")[0], found(r"neuron (\d+)")[0]
    layer = DOCUMENT["layers"][0]
    assert accs[0] == accumulate(layer, IMAGES.astype(np.int64))[image, neuron]

    factors = [factor(layer)]
    for acc, exact in zip(accs[1:], shown[1:], strict=True):
        ratio = float(exact) / acc
        assert ratio in (0.5, 0.25)
        factors.append(Factor(2**30, {0.5: 0, 0.25: 1}[ratio], 1.0, ratio, 1.0))
    f = factors[0]
    assert shown[0] == f"{accs[0] * f.input * f.weights / f.output:.6g}"

    signatures = set()
    for profile, rule in RULES.items():
        expected = [int(rule(np.array(acc), f)) for acc, f in zip(accs, factors, strict=True)]
        assert found(rf" {profile} .* of \d+ +(-?\d+) +(-?\d+) +(-?\d+)") == expected, profile
        signatures.add(tuple(expected))
    assert found(r"those 3 integers tell (\d+) of (\d+) engines apart") == [len(signatures), len(RULES)]
    assert len(signatures) == len(RULES)


def test_c_is_proved_and_its_cost_measured() -> None:
    source = intnn.emit_c(NET)
    assert intnn.verify_c(source, NET).proved
    assert "\n  proved by intnn verify, for every input, with int16 and int32 and lp64:" in text()
    assert found(r"Cortex-M0, (\d+) lines by intnn emit") == [source.count("\n")]
    pytest.importorskip("unicorn", reason="costs need the targets: pip install -e '.[targets]'")
    flash, ram, cycles = found(r"(\d+) bytes of flash, (\d+) bytes of RAM, (\d+) cycles an image")
    macs = 64 * 16 + 16 * 10
    constants = macs + 16 + 10  # a byte a weight, and at least one a bias
    assert constants < flash < 2 * constants
    assert 64 + 16 <= ram < 500  # the activations, and what a compiler spills
    assert f"{cycles / macs:.1f} a multiply-accumulate" in text()


@pytest.mark.slow
def test_training_again_gives_the_same_bytes(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn: pip install -e '.[frameworks]'")
    if f"scikit-learn {sklearn.__version__} " not in DOCUMENT["source"]:
        pytest.skip(f"scikit-learn is {sklearn.__version__}, the bundled network's source is {DOCUMENT['source']}")
    runpy.run_path(str(ROOT / "docs" / "examples" / "digits.py"))["main"](str(tmp_path))
    assert (tmp_path / "digits.json").read_bytes() == (FOLDER / "digits.json").read_bytes()
    with np.load(tmp_path / "digits.npz") as data:  # the zip container may differ between platforms
        np.testing.assert_array_equal(data["images"], IMAGES)
        np.testing.assert_array_equal(data["labels"], LABELS)
