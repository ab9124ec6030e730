"""The arithmetic against definitions over unbounded integers and fractions, on grids of boundary values."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intnn import arithmetic
from intnn.checked import Int32
from intnn.errors import ContractError

LOW, HIGH = -(1 << 31), (1 << 31) - 1
WALKING = sorted({s * (1 << k) + d for k in range(32) for s in (1, -1) for d in (-2, -1, 0, 1, 2)})
WORDS = [v for v in WALKING if LOW <= v <= HIGH]
MULTIPLIERS = [v for v in WORDS if v >= 0] + [1518500250, 1340780792]

DEFINITIONS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "half-up": lambda v: math.floor(v + Fraction(1, 2)),
    "half-away": lambda v: int(math.copysign(math.floor(abs(v) + Fraction(1, 2)), v)),
    "half-even": round,
    "toward-zero": math.trunc,
}
WITHOUT_LOWEST = ("half-away", "half-even")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_rounding_shift_is_its_definition(name: str) -> None:
    shift = arithmetic.SHIFTS[name]
    for x in WORDS:
        if x == LOW and name in WITHOUT_LOWEST:
            continue
        for s in range(32):
            assert shift(x, s) == DEFINITIONS[name](Fraction(x, 1 << s)), (x, s)


@pytest.mark.parametrize("name", WITHOUT_LOWEST)
def test_the_one_excluded_operand_breaks_the_contract(name: str) -> None:
    with pytest.raises(ContractError):
        arithmetic.SHIFTS[name](Int32(LOW), 1)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_no_step_of_a_rounding_shift_leaves_int32(name: str) -> None:
    for s in range(32):
        arithmetic.SHIFTS[name](Int32([x for x in WORDS if x > LOW or name not in WITHOUT_LOWEST]), s)


def test_rounding_shifts_disagree_pairwise() -> None:
    """Each pair of rules differs somewhere on -3/2, -1/2 and 1/2: the names are not synonyms."""
    answers = {name: tuple(shift(x, 1) for x in (-3, -1, 1)) for name, shift in arithmetic.SHIFTS.items()}
    assert len(set(answers.values())) == len(answers)


@pytest.mark.parametrize("n", [0, 1, (1 << 14) - 1, 1 << 14])
def test_high_multiply_is_the_product_shifted(n: int) -> None:
    x, m = np.array(WORDS, np.int32)[:, None], np.array(MULTIPLIERS, np.int32)
    expected = [[(a * b + (n << 16)) >> 31 for b in MULTIPLIERS] for a in WORDS]
    assert arithmetic.high_multiply(x, m, n).tolist() == expected
    assert arithmetic.high_multiply(Int32(x), m, n).values.tolist() == expected


@given(st.integers(LOW, HIGH), st.integers(0, HIGH), st.sampled_from([0, 1 << 14]))
def test_high_multiply_anywhere(x: int, m: int, n: int) -> None:
    assert arithmetic.high_multiply(x, m, n) == (x * m + (n << 16)) >> 31


def plain_q31(acc: int, m: int, e: int, rounding: str) -> int:
    """The three roundings as their clauses define them, in unbounded integers."""
    if rounding == "single":
        return math.floor(Fraction(acc * m, 1 << (31 - e)) + Fraction(1, 2))
    high, right = math.floor(Fraction((acc << max(e, 0)) * m, 1 << 31) + Fraction(1, 2)), max(-e, 0)
    tie = DEFINITIONS["half-away" if rounding == "double" else "half-up"]
    return tie(Fraction(high, 1 << right)) if right else high


@pytest.mark.parametrize("rounding", ["single", "double", "upup"])
def test_q31_on_the_boundary_grid(rounding: str) -> None:
    for e in range(-31, 31):
        accs = [v for v in WORDS if LOW <= v << max(e, 0) <= HIGH]
        got = arithmetic.q31(Int32(np.array(accs)[:, None]), np.array(MULTIPLIERS[-6:]), e, rounding)
        assert got.values.tolist() == [[plain_q31(a, m, e, rounding) for m in MULTIPLIERS[-6:]] for a in accs]


@given(
    st.integers(-(1 << 24), 1 << 24),
    st.integers(1 << 30, HIGH),
    st.integers(-31, 6),
    st.sampled_from(["single", "double", "upup"]),
)
@example(7984, 1583594044, -9, "double")
@example(-17241, 1289204782, -2, "upup")
def test_q31_anywhere(acc: int, m: int, e: int, rounding: str) -> None:
    assert arithmetic.q31(acc, m, e, rounding) == plain_q31(acc, m, e, rounding)


@given(st.data())
def test_q31_per_channel_mixes_both_shift_directions(data: st.DataObject) -> None:
    rounding = data.draw(st.sampled_from(["single", "double", "upup"]))
    m = data.draw(st.lists(st.integers(1 << 30, HIGH), min_size=5, max_size=5))
    e = data.draw(st.lists(st.integers(-31, 5), min_size=5, max_size=5))
    acc = data.draw(st.integers(-(1 << 25), 1 << 25))
    got = arithmetic.q31(np.full(5, acc, np.int32), np.array(m, np.int32), np.array(e, np.int32), rounding)
    assert got.dtype == np.int32
    assert got.tolist() == [plain_q31(acc, *pair, rounding) for pair in zip(m, e, strict=True)]


@given(st.integers(-(1 << 30), 1 << 30), st.integers(-40000, 40000), st.integers(0, 70000))
def test_clamp(v: int, low: int, width: int) -> None:
    assert arithmetic.maximum(v, low) == max(v, low)
    assert arithmetic.minimum(v, low) == min(v, low)
    assert arithmetic.clamp(v, low, low + width) == min(max(v, low), low + width)


def test_fixed_is_its_formula() -> None:
    for acc in (-1000, -999, -1, 0, 1, 998, 1000):
        assert arithmetic.fixed(acc, 2, 2, 181, 4096, 13) == ((((acc + 2) >> 2) * 181) + 4096) >> 13


class Recorder:
    """An int that notes the operators used on it."""

    seen: set[str]

    def __init__(self, value: int, seen: set[str]) -> None:
        self.value, self.seen = value, seen

    def _do(self, name: str, other: Any) -> Recorder:
        self.seen.add(name)
        right = other.value if isinstance(other, Recorder) else other
        return Recorder(
            {"*": self.value * right, "+": self.value + right, ">>": self.value >> max(right, 0)}[name], self.seen
        )

    def __mul__(self, other: Any) -> Recorder:
        return self._do("*", other)

    def __add__(self, other: Any) -> Recorder:
        return self._do("+", other)

    def __rshift__(self, other: Any) -> Recorder:
        return self._do(">>", other)

    __rmul__, __radd__ = __mul__, __add__


def test_a_type_with_three_operators_is_enough() -> None:
    """What the solver layer needs: any object with ``*``, ``+`` and ``>>`` runs through."""
    seen: set[str] = set()
    y = arithmetic.clamp(arithmetic.q31(Recorder(7984, seen), 1583594044, -9, "double") + 1, -128, 127)
    assert y.value == 13
    assert seen == {"*", "+", ">>"}


@pytest.mark.parametrize(
    ("operation", "index"),
    [
        (lambda: Int32([1, HIGH]) + np.array([1, 1]), (1,)),
        (lambda: Int32([[1, 2], [3, LOW]]) * -1, (1, 1)),
        (lambda: Int32([5]) >> 32, ()),
        (lambda: Int32([5]) >> -1, ()),
        (lambda: 1 << 31 >> Int32([1]), ()),
        (lambda: np.array([3, HIGH]) * Int32(2), (1,)),
    ],
)
def test_checked_values_raise_at_the_first_violation(operation: Callable[[], Int32], index: tuple[int, ...]) -> None:
    with pytest.raises(ContractError) as caught:
        operation()
    assert caught.value.index == index
    assert caught.value.code in ("contract.int32", "contract.operand")
