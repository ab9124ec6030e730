"""Int32 values that verify every operation: the checked mode of the interpreter.

:class:`Int32` computes each ``*``, ``+`` and ``>>`` exactly in int64 (a product of two int32 values is
below 2^62) and raises at the first result that leaves int32 or the first shift amount outside [0, 31].
The tests run everything through it, and :mod:`intnn.bounds` runs the endpoints of its intervals through it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.arithmetic import INT32_MAX, INT32_MIN, Word
from intnn.errors import ContractError


class Int32:
    """An array of int32 values (held as int64, any shape) on which no operation can wrap [conventions.contract].

    Operands may be other ``Int32``, NumPy integer arrays or Python ints, on either side. Raises
    :class:`ContractError` ``contract.int32`` or ``contract.operand``; its ``index`` is the position of the first
    offending element in the broadcast result.
    """

    __array_ufunc__ = None  # makes `ndarray * Int32` come here instead of NumPy's own loop

    def __init__(self, values: Word) -> None:
        self.values: npt.NDArray[np.int64] = np.asarray(values, np.int64)
        _require(self.values, INT32_MIN, INT32_MAX, "contract.int32", "an operand")

    def __mul__(self, other: Word) -> Int32:
        return self._result("*", other, self.values * _values(other))

    def __add__(self, other: Word) -> Int32:
        return self._result("+", other, self.values + _values(other))

    def __rshift__(self, other: Word) -> Int32:
        amount = _values(other)
        _require(amount, 0, 31, "contract.operand", "a shift amount")
        return self._result(">>", other, self.values >> amount)

    def __rrshift__(self, other: Word) -> Int32:
        return Int32(other) >> self

    __rmul__ = __mul__
    __radd__ = __add__

    def __getitem__(self, index: Any) -> Int32:
        return Int32(self.values[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``values``."""
        return self.values.shape

    def _result(self, operator: str, other: Word, exact: npt.NDArray[np.int64]) -> Int32:
        if np.any((exact < INT32_MIN) | (exact > INT32_MAX)):
            index = _first((exact < INT32_MIN) | (exact > INT32_MAX))
            left, right = (np.broadcast_to(v, exact.shape)[index] for v in (self.values, _values(other)))
            error = ContractError(
                "contract.int32",
                f"{left} {operator} {right} = {exact[index]} leaves int32",
                expected=f"every value within [{INT32_MIN}, {INT32_MAX}] [conventions.contract]",
            )
            error.index = index
            raise error
        return Int32(exact)


def _values(operand: Word) -> npt.NDArray[np.int64]:
    return operand.values if isinstance(operand, Int32) else np.asarray(operand, np.int64)


def _first(wrong: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(wrong)[0])


def _require(values: npt.NDArray[np.int64], low: int, high: int, code: str, what: str) -> None:
    wrong = (values < low) | (values > high)
    if np.any(wrong):
        index = _first(wrong)
        error = ContractError(code, f"{what} is {values[index]}", expected=f"a value within [{low}, {high}]")
        error.index = index
        raise error
