"""What a network does on data, once, for all figures: accumulators, outputs, and the floats they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn import engines
from intnn.errors import InputError, ModelError
from intnn.floats import meaning
from intnn.floats.network import FloatNetwork, Floats, rows
from intnn.interpreter import LayerTrace
from intnn.model import Q31, Fixed, IntArray, Network


@dataclass(frozen=True, eq=False)
class Evidence:
    """A valid network ``net`` on its inputs ``x`` (batch, inputs), integers.

    ``samples`` are the same inputs as the float network takes them (batch, inputs), ``None`` where the network carries
    no scales; ``floats`` is that network; ``target`` holds real values (batch, outputs), or labels (batch,).
    """

    net: Network
    x: IntArray
    samples: npt.NDArray[Any] | None
    floats: FloatNetwork | None
    target: npt.NDArray[Any] | None

    @cached_property
    def traces(self) -> list[LayerTrace]:
        """Accumulators and outputs of each layer."""
        return engines.trace(self.net, self.x)

    @cached_property
    def outputs(self) -> Floats:
        """The integer network's outputs (batch, outputs): real values, or steps where nothing says what they mean."""
        outputs = self.traces[-1].output
        return outputs.astype(np.float64) if self.samples is None else meaning.decode(self.net, outputs)

    @cached_property
    def float_outputs(self) -> Floats | None:
        """The float network's outputs (batch, outputs)."""
        return None if self.floats is None or self.samples is None else self.floats.run(self.samples)

    @property
    def labels(self) -> bool:
        """Whether the targets are labels, one a row."""
        return self.target is not None and self.target.ndim == 1

    @property
    def vectors(self) -> list[IntArray]:
        """The input and each layer's output (batch, n)."""
        return [self.x, *(trace.output for trace in self.traces)]

    def product(self, layer: int) -> npt.NDArray[np.int64] | None:
        """The largest product of requantization (batch, outputs), as :class:`intnn.bounds.LayerProof` has it."""
        rule, acc = self.net.layers[layer].requantize, self.traces[layer].acc.astype(np.int64)
        if isinstance(rule, Fixed):
            product: npt.NDArray[np.int64] = ((acc + rule.pre_round) >> rule.pre_shift) * rule.multiplier + rule.round
            return product
        return acc << np.maximum(rule.exponent, 0) if isinstance(rule, Q31) else None


def gather(
    net: Network, x: npt.ArrayLike, y: npt.ArrayLike | None = None, floats: FloatNetwork | None = None
) -> Evidence:
    """The evidence of ``x`` (batch, inputs): integers as the network takes them, or real values.

    ``y`` is what was to come out: real values (batch, outputs) or, for a network of several outputs, integer labels
    (batch,). Raises :class:`InputError` ``input.type``, ``input.shape``, ``input.range`` or ``input.value``;
    :class:`ModelError` ``model.chain`` where the ``floats`` have other sizes, ``model.value`` where real values are
    asked of a network without scales, ``model.overflow``.
    """
    if floats is not None and floats.sizes != net.sizes:
        raise ModelError(
            "model.chain",
            f"the float network is {'-'.join(map(str, floats.sizes))}",
            expected=f"the sizes of the model, {'-'.join(map(str, net.sizes))}",
        )
    given = _array(x, "x")
    target = None if y is None else _target(_array(y, "y"), net.sizes[-1])
    labels = target is not None and target.ndim == 1
    known = all(layer.scales is not None for layer in net.layers)
    if not known and (floats is not None or (target is not None and not labels)):
        meaning.scales(net)  # raises: these are real values
    if given.dtype.kind in "iu":
        integers = engines.batch(net, np.atleast_2d(given))[0]
        samples = _real(net, integers) if known else None
    elif known:
        samples = rows(given, net.sizes[0])
        integers = meaning.encode(net, samples)
    else:
        integers = engines.batch(net, given)[0]  # raises: floats for a network without scales
        samples = None
    if not len(integers):
        raise InputError("input.shape", f"x has shape {given.shape}", expected="at least one row")
    found = Evidence(net, integers, samples, floats, target)
    if target is not None:
        meaning.error(found.outputs, target)  # raises where rows or labels do not fit
    return found


def _real(net: Network, x: IntArray) -> npt.NDArray[Any]:
    """Integers as real values; those that stand for themselves remain integers, as quantization takes them."""
    scale = meaning.scales(net)[0].input
    zero = net.input.zero_point
    return x if scale == 1 and zero == 0 else scale * (x.astype(np.float64) - zero)


def _array(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):
        raise InputError("input.type", f"{name} is not a rectangular array", expected="an array of numbers") from None


def _target(y: npt.NDArray[Any], outputs: int) -> npt.NDArray[Any]:
    """Labels as they are, else real values (batch, outputs)."""
    if meaning.metric(y, outputs) == "error rate":
        return y
    return rows(y[:, None] if y.ndim == 1 else y, outputs, "y")


def some(values: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """At most ``most`` of the rows, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(np.int64)]
