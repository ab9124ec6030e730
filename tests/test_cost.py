"""Costs as figures, tables and budgets. What is measured is checked in ``tests/targets`` and ``test_cortex_m0.py``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from intnn.errors import UsageError
from intnn.targets.cost import Budget, Cost, LayerCost, as_json, cost, render

# flash 480 + 1688 + 12 + 4 = 2184; RAM 4 + 16 + 96 = 116; 11264 cycles of 1408 MAC are 8.00 each
POSE = Cost(
    target="cortex-m0",
    compiler="arm-none-eabi-gcc",
    version="12.2.1",
    optimize="2",
    code=480,
    tables=1688,
    helpers=12,
    data=4,
    bss=16,
    stack=96,
    instructions=8000,
    cycles=11264,
    layers=(LayerCost("0", 192, 1920), LayerCost("1", 1024, 7680), LayerCost("output", 192, None)),
    outputs=np.zeros((1, 6), np.int8),
)


def test_sums() -> None:
    assert (POSE.flash, POSE.ram, POSE.macs, POSE.cycles_per_mac) == (2184, 116, 1408, 8.0)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("32k,16k", Budget(32768, 16384)),
        ("2200,512", Budget(2200, 512)),
        (" 1K , 0 ", Budget(1024, 0)),
    ],
)
def test_budgets_that_are_read(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    "text", ["", "32k", "32k,", "1,2,3", "-1,2", "1.5k,2", "32kb,2", "0x10,2", "k,k", "1 2", "٣,٤"]
)
def test_budgets_that_are_not(text: str) -> None:
    with pytest.raises(UsageError, match="32k,16k") as caught:
        Budget.parse(text)
    assert caught.value.code == "usage.budget"


def test_what_does_not_fit() -> None:
    assert Budget(2184, 116).excesses(POSE) == ()
    assert Budget(2183, 116).excesses(POSE) == ("flash: 2184 bytes needed, 2183 given: 1 too many",)
    assert Budget(1024, 16).excesses(POSE) == (
        "flash: 2184 bytes needed, 1024 given: 1160 too many",
        "RAM: 116 bytes needed, 16 given: 100 too many",
    )


def test_table() -> None:
    lines = render(POSE).splitlines()
    assert lines[0] == "cortex-m0, arm-none-eabi-gcc 12.2.1, -O2"
    assert lines[1].split()[:3] == ["flash", "2184", "bytes"]
    assert lines[2].split()[:3] == ["RAM", "116", "bytes"]
    assert lines[3].split() == ["cycles", "11264", "in", "8000", "instructions,", "8.00", "per", "multiply-accumulate"]
    assert [line.split() for line in lines[6:]] == [
        ["0", "192", "1920", "10.00"],
        ["1", "1024", "7680", "7.50"],
        ["output", "192", "-", "-"],
    ]
    assert max(map(len, lines)) <= 96
    assert (
        len(
            {
                line.index(number) + len(number)
                for line, number in zip(lines[1:4], ("2184", "116", "11264"), strict=True)
            }
        )
        == 1
    )


def test_json() -> None:
    document = json.loads(as_json(POSE))
    assert document["flash"] == 2184
    assert document["layers"][2] == {"name": "output", "macs": 192, "cycles": None}
    assert document.keys() - {"flash", "ram", "macs", "cycles_per_mac"} == POSE.__dict__.keys() - {"outputs"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"target": "cortex-m4"}, "usage.target"),
        ({"optimize": "4"}, "usage.option"),
        ({"compiler": "gcc"}, "usage.compiler"),
        ({"compiler": "tcc"}, "usage.compiler"),
    ],
)
def test_requests_that_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        cost("", "f", np.zeros((1, 1), np.int8), 1, np.int8, **options)
    assert caught.value.code == code
