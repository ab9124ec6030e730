"""What the integers of a network mean: real values in, real values out, by the scales its layers carry.

A real value is ``scale * (integer - zero_point)``. Execution never asks for it; people, training data and error figures
do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intnn.engines import batch
from intnn.errors import InputError, ModelError
from intnn.floats.network import Floats, rows
from intnn.model import Activation, IntArray, Network, Scales


def encode(net: Network, x: npt.ArrayLike) -> IntArray:
    """Real values ``x`` (batch, inputs) as the integers that ``net`` takes, rounded half even and clamped.

    Integers are real values too; where the network takes them as they are (scale 1, zero point 0) they have to lie in
    the declared range. Raises :class:`InputError` ``input.type``, ``input.shape``, ``input.value`` or ``input.range``,
    :class:`ModelError` ``model.value`` where the network carries no scales.
    """
    scale = scales(net)[0].input
    if np.asarray(x).dtype.kind in "iu" and scale == 1 and net.input.zero_point == 0:
        return batch(net, np.atleast_2d(np.asarray(x)))[0]
    return round_to(net.input, scale, rows(x, net.sizes[0])).astype(net.input.type)


def clamped(net: Network, x: npt.ArrayLike) -> int:
    """How many of the real values ``x`` (batch, inputs) lie outside what the input holds, so that :func:`encode` clamps
    them. Raises as :func:`encode`."""
    scale = scales(net)[0].input
    exact = np.rint(rows(x, net.sizes[0]) / scale) + net.input.zero_point
    return int(((exact < net.input.min) | (exact > net.input.max)).sum())


def decode(net: Network, y: npt.ArrayLike) -> Floats:
    """The network's outputs ``y`` (batch, outputs) as real values. Raises :class:`ModelError` ``model.value``."""
    steps = np.asarray(y).astype(np.float64) - net.output.zero_point
    real: Floats = steps * scales(net)[-1].output
    return real


def scales(net: Network) -> list[Scales]:
    """The scales of each layer. Raises :class:`ModelError` ``model.value`` where a layer carries none."""
    found = [layer.scales for layer in net.layers]
    for i, each in enumerate(found):
        if each is None:
            raise ModelError(
                "model.value",
                "no scales",
                where=f"layer {i}",
                expected="the real scales, which say what the integers mean",
                repair="make the network by intnn quantize, train or import, which keep them",
            )
    return [each for each in found if each is not None]


def round_to(activation: Activation, scale: float, values: Floats) -> Floats:
    """The integers, as float64, that stand for real ``values``: rounded half even, clamped."""
    rounded: Floats = np.clip(np.rint(values / scale) + activation.zero_point, activation.min, activation.max)
    return rounded


def metric(target: npt.ArrayLike | None, outputs: int) -> str:
    """The name of what :func:`error` measures: ``error rate`` for labels, which are integers, one a row, and for one
    output 0 or 1; else ``RMSE``."""
    kind = None if target is None else np.asarray(target)
    if kind is None or kind.ndim != 1 or kind.dtype.kind not in "iu":
        return "RMSE"
    return "error rate" if outputs > 1 or set(np.unique(kind)) <= {0, 1} else "RMSE"


def error(y: Floats, target: npt.ArrayLike) -> float:
    """How far outputs ``y`` (batch, outputs) are from ``target``, as :func:`metric` names it.

    The error rate is the share of rows whose largest output is not the labelled one; of one output, where it is not
    above 0 for label 1, or above 0 for label 0. The RMSE is over rows and outputs. ``target`` is (batch,) labels, or
    real values (batch, outputs); (batch,) where there is one output. Raises :class:`InputError` ``input.shape``,
    ``input.value`` or ``input.range``.
    """
    wanted = check_target(target, len(y), y.shape[1])
    if wanted.ndim == 1:
        found = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0] > 0
        return float(np.mean(found != wanted))
    return float(np.sqrt(np.mean((y - wanted.astype(np.float64)) ** 2)))


def check_target(target: npt.ArrayLike, count: int, outputs: int) -> npt.NDArray[np.generic]:
    """``target`` for ``count`` samples: labels (batch,), or real values (batch, ``outputs``) as float64. Raises as
    :func:`error`."""
    wanted = np.asarray(target)
    labels = metric(wanted, outputs) == "error rate"
    if wanted.ndim == 1 and outputs > 1 and not labels:
        raise InputError(
            "input.shape",
            f"target has shape {wanted.shape} and type {wanted.dtype}",
            expected=f"(batch, {outputs}), or integers (batch,), which are labels",
        )
    if not labels:
        wanted = rows(wanted[:, None] if wanted.ndim == 1 else wanted, outputs, "target")
    if len(wanted) != count:
        found = f"{len(wanted)} {'labels' if labels else 'targets'}"
        raise InputError("input.shape", found, expected=f"{count}, one for each sample")
    if labels and outputs > 1 and (wanted.min() < 0 or wanted.max() >= outputs):
        found = f"labels within [{wanted.min()}, {wanted.max()}]"
        raise InputError("input.range", found, expected=f"within [0, {outputs - 1}], the network's outputs")
    if not labels and np.abs(wanted).max() > 2.0**60:
        raise InputError("input.range", f"targets up to {np.abs(wanted).max():.3g}", expected="at most 2^60")
    return wanted
