"""The steps of a chain of dense layers, in whatever framework it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from intnn.errors import ForeignModelError
from intnn.floats.network import Floats
from intnn.formats.flatbuffer import printable

HOW_TO_NAME = 'name weights "kernel" if of shape (inputs, outputs) or "weight" if of shape (outputs, inputs)'


class Member(NamedTuple):
    """An array of the source, under the source's name for it: float or integer, exactly representable in float64."""

    name: str
    values: npt.NDArray[Any]


@dataclass(frozen=True)
class Linear:
    """A product with ``weights`` (2-D), (outputs, inputs) if ``outputs_first``, and a sum with ``bias`` (1-D).
    ``outputs_first`` is ``None`` where the source does not say."""

    weights: Member
    bias: Member | None
    outputs_first: bool | None


@dataclass(frozen=True)
class Affine:
    """``x * factor + offset`` for each channel: batch normalization, or the scaling of inputs or outputs."""

    name: str
    factor: Floats
    offset: Floats


@dataclass(frozen=True)
class Clip:
    """An activation: a clip to [``min``, ``max``]."""

    name: str
    min: float
    max: float


@dataclass(frozen=True)
class Skipped:
    """A step without effect on the numbers, as ``text`` says; ``last`` if it can be left off only at the end."""

    name: str
    text: str
    last: bool = False


Step: TypeAlias = Linear | Affine | Clip | Skipped


def member(name: str, value: Any) -> Member:
    """``value``, an array or tensor of any framework, as an array. Raises ``weights.layer`` if it holds no numbers."""
    try:
        if hasattr(value, "detach"):  # a PyTorch tensor
            value = value.detach().cpu()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        values = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise unsupported(name, f"cannot be read as an array: {str(error)[:100]}", "an array of floats") from None
    kind = values.dtype.kind
    if values.dtype.name == "bfloat16" or (kind == "f" and values.dtype.itemsize <= 8):
        return Member(name, values)
    if kind in "iu" and values.size and max(abs(int(values.min())), int(values.max())) <= 1 << 53:
        return Member(name, values)
    raise unsupported(name, f"of type {values.dtype}", "floats of at most 64 bits, or integers up to 2^53")


def unsupported(name: str, found: str, expected: str, repair: str = "") -> ForeignModelError:
    """The error ``weights.layer``: the member or layer ``name`` is not supported."""
    return ForeignModelError("weights.layer", found, where=printable(name), expected=expected, repair=repair)


def left_off(name: str, activation: str) -> Skipped:
    """The activation of the last layer that only turns scores into probabilities."""
    return Skipped(
        name, f"{activation} is left off: the network gives its arguments, whose order is the same", last=True
    )
