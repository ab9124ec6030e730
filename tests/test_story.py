"""The demonstration: it fits a screen, and its figures are those of plain arithmetic on the files and the physics."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intnn
from intnn.demo import pose
from intnn.demo.story import story

FOLDER = Path(__file__).resolve().parents[1] / "intnn" / "demo"
COUNTS, POSES = pose.samples("hall", 10_000, seed=2)
DOCUMENT = json.loads((FOLDER / "hall.json").read_text())


@cache
def text() -> str:
    """What is printed."""
    return story()


def found(pattern: str) -> list[str]:
    match = re.search(pattern, text())
    assert match, f"{pattern} is not in:\n{text()}"
    return list(match.groups())


def trained(counts: Any) -> Any:
    """The poses by the integers of the model file, in int64: the rule `fixed` as it is written in the specification."""
    x = counts.astype(np.int64) - DOCUMENT["input"]["zero_point"]
    for layer in DOCUMENT["layers"]:
        q, out = layer["requantize"], layer["output"]
        acc = x @ np.array(layer["weights"], np.int64).T + np.array(layer["bias"], np.int64)
        p, s = np.array(q["pre_shift"]), np.array(q["shift"])
        y = (((acc + np.array(q["pre_round"])) >> p) * np.array(q["multiplier"]) + np.array(q["round"])) >> s
        x = np.clip(y + out["zero_point"], out["min"], out["max"]) - out["zero_point"]
    return x * float.fromhex(DOCUMENT["layers"][-1]["scales"]["output"]) * REACH


def floats(counts: Any) -> Any:
    x = counts.astype(np.float64)
    with np.load(FOLDER / "hall.npz") as data:
        for i in range(3):
            x = x @ np.float64(data[f"weights{i}"]).T + np.float64(data[f"bias{i}"])
            x = np.maximum(x, 0) if i < 2 else x
    return x * REACH


REACH = np.array([1.0, 1.0, 1.0, *[5 * np.pi / 180] * 3])


def errors(poses: Any) -> tuple[float, float, float]:
    """In mm, in mrad, and of all six as shares of their reach."""
    square = ((poses - POSES) ** 2).mean(axis=0)
    return (
        float(np.sqrt(square[:3].mean())),
        float(1000 * np.sqrt(square[3:].mean())),
        float(np.sqrt((square / REACH**2).mean())),
    )


def test_fits_a_screen_and_says_the_same_again() -> None:
    lines = text().split("\n")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 112
    assert text().isascii()
    assert all(line == line.rstrip() for line in lines)
    assert story() == text()


def test_the_errors_in_plain_arithmetic() -> None:
    base = errors(floats(COUNTS))
    for name, poses in {"float, as trained": floats(COUNTS), "integers, by intnn train": trained(COUNTS)}.items():
        mm, mrad, share = errors(poses)
        assert found(rf"{name} +([\d.]+) mm +([\d.]+) mrad +([\d.]+)") == [
            f"{mm:.4f}",
            f"{mrad:.2f}",
            f"{share / base[2]:.3f}",
        ]
    quantized = found(r"2,000 samples +([\d.]+) mm +([\d.]+) mrad +([\d.]+)")
    assert found(r"integer network\n +1\.000 .* ([\d.]+)\n") == quantized[2:]  # the last step is the network itself
    assert 1 < float(quantized[2]) < 1.2


def test_one_pose() -> None:
    assert [int(v) for v in re.findall(r"\d+", found(r"sensors say (.*)  counts")[0])] == COUNTS[0].tolist()
    rows = {"the puck is at": POSES[0], "floats say": floats(COUNTS[:1])[0], "integers say": trained(COUNTS[:1])[0]}
    for name, values in rows.items():
        shown = [*(f"{v:.3f}" for v in values[:3]), *(f"{v:.1f}" for v in 1000 * values[3:])]
        assert re.findall(r"-?[\d.]+", found(rf"{name} +(.*)\n")[0]) == shown


def test_the_firmware_is_proved_and_within_its_budget() -> None:
    net = intnn.load(FOLDER / "hall.json")
    assert net.sizes == (6, 32, 32, 6)
    assert (net.input.type, net.input.min, net.input.max) == ("int16", 0, 4095)
    assert [layer.output.type for layer in net.layers] == ["int8", "int8", "int16"]
    assert found(r"sha256 (\w+)\.\.\.") == [DOCUMENT["sha256"][:16]]
    assert "proved by intnn verify, for every input, with int16 and int32 and lp64" in text()
    pytest.importorskip("unicorn", reason="costs need the targets: pip install -e '.[targets]'")
    flash, ram, cycles = (
        int(v.replace(",", ""))
        for v in found(r"([\d,]+) of 32,768 bytes of flash, ([\d,]+) of 16,384 bytes of RAM, ([\d,]+) cycles a pose")
    )
    constants = 192 + 1024 + 192 + 70  # a byte a weight, and at least one a bias
    assert constants < flash < 2 * constants
    assert 64 < ram < 500
    assert 4 * (192 + 1024 + 192) < cycles < 12_000
    assert found(r"(\d+) microseconds") == [f"{cycles / 48:.0f}"]
