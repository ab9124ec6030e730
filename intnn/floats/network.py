"""Networks of floats: what a training framework hands over, and what quantization starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intnn.errors import InputError, ModelError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FloatDense:
    """A dense layer of floats: ``clip(x @ weights.T + bias, min, max)``.

    ``weights`` float64 (outputs, inputs), ``bias`` float64 (outputs,), all finite. ReLU is ``min = 0``, ReLU6 also
    ``max = 6``; without an activation both are infinite. Raises :class:`ModelError` ``model.value``.
    """

    weights: Floats
    bias: Floats
    min: float = -np.inf
    max: float = np.inf

    def __post_init__(self) -> None:
        weights, bias = _finite(self.weights, "weights", 2), _finite(self.bias, "bias", 1)
        if 0 in weights.shape:
            raise _wrong("weights", f"of shape {weights.shape}", "shape (outputs, inputs), both at least 1")
        if bias.shape != weights.shape[:1]:
            raise _wrong("bias", f"of shape {bias.shape}", f"one value for each of {len(weights)} outputs")
        if not self.min < self.max:
            raise _wrong("min", f"{self.min}, not below max {self.max}", "min < max")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "bias", bias)

    @property
    def relu(self) -> bool:
        """Whether no output is below 0."""
        return self.min >= 0


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A chain of dense layers of floats.

    Raises :class:`ModelError` ``model.value``, or ``model.chain`` where a layer does not take what the one before
    gives.
    """

    layers: tuple[FloatDense, ...]
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise _wrong("layers", "none", "at least one layer")
        for i, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False), 1):
            if after.weights.shape[1] != len(before.weights):
                raise ModelError(
                    "model.chain",
                    f"layer {i} takes {after.weights.shape[1]} inputs, layer {i - 1} has {len(before.weights)} outputs",
                    expected="the same number",
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input count, then each layer's output count."""
        return (self.layers[0].weights.shape[1], *(len(layer.weights) for layer in self.layers))

    def run(self, x: npt.ArrayLike) -> Floats:
        """The outputs (batch, outputs) for ``x`` (batch, inputs). Raises as :meth:`trace`."""
        return self.trace(x)[-1]

    def trace(self, x: npt.ArrayLike) -> list[Floats]:
        """The input as float64, then each layer's output: (batch, n) each.

        Raises :class:`InputError` ``input.shape``, or ``input.value`` where a value is not finite.
        """
        return [rows(x, self.sizes[0]), *self._outputs(x)]

    def _outputs(self, x: npt.ArrayLike) -> Iterator[Floats]:
        values = rows(x, self.sizes[0])
        for layer in self.layers:
            values = np.clip(values @ layer.weights.T + layer.bias, layer.min, layer.max)
            yield values


def rows(x: npt.ArrayLike, size: int, what: str = "x") -> Floats:
    """``x`` as float64 of shape (batch, ``size``), at least one row, every value finite.

    Raises :class:`InputError` ``input.type``, ``input.shape`` or ``input.value``.
    """
    try:
        array = np.asarray(x)
        if array.dtype.kind not in "biufO":  # astype would drop imaginary parts, and read numbers from text
            raise TypeError
        with np.errstate(over="ignore"):  # what float64 does not hold is infinite, and refused below
            values = array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError("input.type", f"{what} does not hold real numbers", expected="an array of numbers") from None
    if values.ndim != 2 or values.shape[1] != size or not len(values):
        raise InputError(
            "input.shape", f"{what} has shape {values.shape}", expected=f"(batch, {size}), at least one row"
        )
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(
            "input.value",
            f"{what}[{row}, {column}] is {values[row, column]}",
            expected="finite values",
            repair=f"leave out the {int((~np.isfinite(values)).any(axis=1).sum())} rows that hold such values",
        )
    return values


def _finite(value: npt.ArrayLike, name: str, ndim: int) -> Floats:
    try:
        if np.asarray(value).dtype.kind not in "biufO":
            raise TypeError
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise _wrong(name, "not a rectangular array of numbers", f"{ndim} dimensions of floats") from None
    if array.ndim != ndim:
        raise _wrong(name, f"of shape {array.shape}", f"{ndim} dimensions")
    if not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise _wrong(name + "".join(f"[{i}]" for i in at), str(array[at]), "a finite value")
    array.flags.writeable = False
    return array


def _wrong(name: str, found: str, expected: str) -> ModelError:
    return ModelError("model.value", f"{name} is {found}", expected=expected)
