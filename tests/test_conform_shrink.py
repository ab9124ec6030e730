"""Shrinking: what comes back fails, is small by the order promised, and costs no more rows than allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intnn import Activation
from intnn.conform.shrink import shrink, smallness

INT8 = Activation("int8", -3)


class Failing:
    """A device that fails where ``rule`` holds of a row; it records what it is asked."""

    def __init__(self, rule: Callable[[np.ndarray[Any, Any]], bool]) -> None:
        self.rule = rule
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        assert rows.dtype == np.int64
        self.asked += [tuple(row.tolist()) for row in rows]
        return np.array([self.rule(row) for row in rows], np.bool_)


START = np.array([100, -128, 77, 5, -3, 60])
# The rule, and the smallest row on which it holds.
SIMPLE: dict[str, tuple[Callable[[np.ndarray[Any, Any]], bool], list[int]]] = {
    "always": (lambda x: True, [-3] * 6),
    "one value": (lambda x: x[2] >= 40, [-3, -3, 40, -3, -3, -3]),
    "one exact value": (lambda x: x[1] == -128, [-3, -128, -3, -3, -3, -3]),
    "a value and another's sign": (lambda x: x[0] > 10 and x[5] > 0, [11, -3, -3, -3, -3, 1]),
    "any value far off": (lambda x: bool((np.abs(x + 3) >= 50).any()), [-53, -3, -3, -3, -3, -3]),
    "a sum that one value cannot reach": (lambda x: int(x.sum()) + 18 == 129 + 103 - 150, [-3] * 5 + [79]),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_the_smallest_is_found(name: str) -> None:
    rule, smallest = SIMPLE[name]
    start = START if rule(START) else np.array([79, -3, -3, -3, -3, -3])
    device = Failing(rule)
    x, tries = shrink(INT8, start, device)
    assert rule(x)
    assert tries == len(device.asked) <= 400
    expected = np.array(smallest)
    if name in ("any value far off", "a sum that one value cannot reach"):  # which of the inputs is a local matter
        assert smallness(x, -3)[:2] == smallness(expected, -3)[:2]
    else:
        assert x.tolist() == smallest


def test_dependent_values_move_together() -> None:
    """No single value can change without the failure going away: the sum of two must stay."""
    start = np.array([40, 0, 30, 0])
    x, _ = shrink(Activation("int8"), start, Failing(lambda x: int(x.sum()) == 70))
    assert smallness(x, 0)[:2] == (1, 70)


def test_the_order() -> None:
    """Fewer inputs first, then the sum of distances, then lexicographic order."""
    rows = [[3, 3, 3], [3, 3, 4], [2, 3, 3], [4, 3, 3], [9, 3, 3], [4, 4, 3], [2, 2, 3]]
    ordered = sorted(rows, key=lambda row: smallness(np.array(row), 3))
    assert ordered == [[3, 3, 3], [2, 3, 3], [3, 3, 4], [4, 3, 3], [9, 3, 3], [2, 2, 3], [4, 4, 3]]


def test_a_zero_point_outside_the_range_is_clipped() -> None:
    x, _ = shrink(Activation("int16", zero_point=-5, min=10, max=4095), np.array([50, 4095]), Failing(lambda x: True))
    assert x.tolist() == [10, 10]


@pytest.mark.parametrize("most", [0, 1, 7, 100])
def test_no_more_rows_than_allowed(most: int) -> None:
    start = np.arange(-60, 60)
    device = Failing(lambda x: int(np.count_nonzero(x)) > 30)
    x, tries = shrink(Activation("int8"), start, device, most)
    assert tries == len(device.asked) <= most
    assert device.rule(x)
    if most == 0:
        assert x.tolist() == start.tolist()


def test_wide_rows_shrink_within_the_default() -> None:
    """640 inputs, of which two matter."""
    start = np.random.default_rng(0).integers(-128, 128, 640)
    start[[17, 500]] = 90, -70
    x, tries = shrink(Activation("int8"), start, Failing(lambda x: x[17] > 20 and x[500] < -9))
    assert {i: int(x[i]) for i in np.flatnonzero(x)} == {17: 21, 500: -10}
    assert tries <= 400


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-128, 127), min_size=1, max_size=9), st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_whatever_the_device_does(start: list[int], salt: int, one_in: int) -> None:
    """A device that fails at random, but the same way each time: the answer was seen to fail and is no larger."""

    def rule(row: np.ndarray[Any, Any]) -> bool:
        return row.tolist() == start or hash((salt, *row.tolist())) % one_in == 0

    runs = []
    for _ in range(2):
        device = Failing(rule)
        x, tries = shrink(INT8, np.array(start), device, 150)
        assert tries == len(device.asked) == len(set(device.asked)) <= 150
        assert x.tolist() == start or tuple(x.tolist()) in device.asked
        assert rule(x)
        assert smallness(x, -3) <= smallness(np.array(start), -3)
        assert all(-128 <= v <= 127 for row in device.asked for v in row)
        runs.append((x.tolist(), device.asked))
    assert runs[0] == runs[1]
