"""Samples and targets: checked, split into rows to train on and rows to validate on, and put in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intnn.errors import InputError, UsageError
from intnn.floats.network import Floats, rows

LOSSES = ("mse", "cross-entropy")

LEAST_SPREAD = 0.1
"""Inputs that vary less than this part of the one that varies most are taken to vary so much: standardised to the full,
they would ask for weights that no grid common with the others' could hold."""


@dataclass(frozen=True, eq=False)
class Data:
    """Samples ``x`` (rows, inputs) as given and as float64 in ``inputs``; targets ``y``, float64 (rows, outputs) for
    the loss ``mse`` and int64 labels (rows,) for ``cross-entropy``. ``training`` and ``validation`` are row numbers.

    The loss ``mse`` counts each output in units of its standard deviation ``y_spread`` (outputs,).
    """

    x: npt.NDArray[np.generic]
    inputs: Floats
    y: npt.NDArray[np.generic]
    loss: str
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    x_mean: Floats
    x_spread: Floats
    y_mean: Floats
    y_spread: Floats

    @property
    def target(self) -> npt.NDArray[np.generic]:
        """The targets as the loss takes them: float32 or int32."""
        return self.y.astype(np.float32 if self.loss == "mse" else np.int32)

    def digest(self) -> str:
        """SHA-256 of samples and targets."""
        h = hashlib.sha256(f"{self.loss} {self.x.dtype} {self.x.shape} {self.y.shape}".encode())
        for array in (self.x, self.y):
            h.update(np.ascontiguousarray(array).tobytes())
        return h.hexdigest()

    def batches(self, seed: int, phase: int, size: int, first: int, count: int) -> Iterator[npt.NDArray[np.int64]]:
        """Row numbers of the batches ``first`` to ``first + count``: each epoch is a permutation by seed, phase and
        epoch, so that a training can go on anywhere."""
        size = min(size, len(self.training))
        each = len(self.training) // size
        for step in range(first, first + count):
            epoch, place = divmod(step, each)
            if step == first or place == 0:
                order = np.random.default_rng((seed, phase, epoch)).permutation(self.training)
            yield order[place * size : (place + 1) * size]


def prepare(
    x: npt.ArrayLike, y: npt.ArrayLike, sizes: tuple[int, ...], loss: str | None, validation: float, seed: int
) -> Data:
    """``x`` (rows, inputs) and ``y`` checked against each other and against ``sizes``, the network's; ``loss`` None
    goes by the kind of ``y``: integers of one dimension, for more than one output, are labels.

    Raises :class:`InputError` ``input.type``, ``input.shape``, ``input.value``, ``input.range`` or ``train.data``.
    """
    samples, wanted = _array(x, "x"), _array(y, "y")
    inputs, outputs = rows(samples, sizes[0], "x"), sizes[-1]
    labels = wanted.ndim == 1 and wanted.dtype.kind in "iu" and outputs > 1
    loss = loss or ("cross-entropy" if labels else "mse")
    if loss not in LOSSES:
        raise UsageError("usage.option", f"loss is {loss!r}", expected="one of " + ", ".join(LOSSES))
    target = _labels(wanted, outputs) if loss == "cross-entropy" else _values(wanted, outputs)
    if len(target) != len(inputs):
        raise InputError("input.shape", f"{len(inputs)} rows of x and {len(target)} of y", expected="as many")
    order = np.random.default_rng((seed, 2)).permutation(len(inputs))
    held = min(max(1, round(validation * len(inputs))), len(inputs) - 1)
    if held < 1:
        raise InputError("train.data", "one row", expected="rows to train on and rows to validate on")
    training = np.sort(order[held:])
    x_spread = inputs[training].std(axis=0)
    if not x_spread.any():
        found = f"all {len(training)} rows of x to train on are equal"
        raise InputError("train.data", found, expected="samples of the input as it varies in use")
    if loss == "mse":
        y_mean, y_spread = target[training].mean(axis=0), target[training].std(axis=0)
        if not y_spread.any():
            found = f"all {len(training)} rows of y to train on are equal"
            raise InputError("train.data", found, expected="targets that depend on the input")
        y_spread = np.where(y_spread > 0, y_spread, 1.0)  # a constant among the outputs is learnt as one
    else:
        y_mean, y_spread = np.zeros(outputs), np.ones(outputs)
    return Data(
        x=samples,
        inputs=inputs,
        y=target,
        loss=loss,
        training=training,
        validation=np.sort(order[:held]),
        x_mean=inputs[training].mean(axis=0),
        x_spread=np.maximum(x_spread, LEAST_SPREAD * x_spread.max()),
        y_mean=y_mean,
        y_spread=y_spread,
    )


def _array(value: npt.ArrayLike, name: str) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(value)
    except ValueError:
        raise InputError("input.type", f"{name} is not rectangular", expected="an array of numbers") from None


def _values(y: npt.NDArray[np.generic], outputs: int) -> Floats:
    return rows(y[:, None] if y.ndim == 1 else y, outputs, "y")


def _labels(y: npt.NDArray[np.generic], outputs: int) -> npt.NDArray[np.int64]:
    if outputs < 2:
        raise InputError("input.shape", "one output", where="sizes", expected="an output for each class")
    if y.ndim != 1 or y.dtype.kind not in "iu" or not len(y):
        found = f"y of {y.dtype} and shape {y.shape}"
        raise InputError("input.type", found, expected="labels: integers of shape (rows,), for the loss cross-entropy")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= outputs:
        expected = f"within [0, {outputs - 1}], the network's outputs"
        raise InputError("input.range", f"labels within [{low}, {high}]", where="y", expected=expected)
    if low == high:
        raise InputError("train.data", f"every label is {low}", where="y", expected="at least two classes")
    return y.astype(np.int64)
