"""What the scales and zero points of an ONNX graph say: activations, weights and biases as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from intnn.formats.flatbuffer import scale_text
from intnn.formats.onnx_file import Array, Node, check_field
from intnn.formats.onnx_walk import Constant, Walk, vector
from intnn.model import TYPES


@dataclass(frozen=True)
class Meaning:
    """Integers and what they stand for: ``(q - zero) * scale``, ``scale`` a float32."""

    type: str
    zero: int
    scale: float

    def quantized(self, value: float) -> int:
        """What QuantizeLinear makes of ``value``: a float32 division, half even, then the zero point, saturated."""
        low, high = TYPES[self.type]
        with np.errstate(over="ignore"):  # beyond float32 is beyond the type's range
            steps = np.rint(np.float32(value) / np.float32(self.scale))
        return int(min(max(float(steps) + self.zero, low), high))

    def __str__(self) -> str:
        return f"{self.type}, zero point {self.zero}, {scale_text(np.array([self.scale]))}"


class Integers(NamedTuple):
    """``values``, integers, and for the report ``how`` and from what they come."""

    values: Array
    how: str
    text: str


def scales(walk: Walk, node: Node, scale: int, zero: int, kind: np.dtype[np.generic]) -> tuple[Array, Array]:
    """Inputs ``scale``, positive float32 (n,), and ``zero``, integers (n,); if left out, zeros of type ``kind``."""
    s = walk.constant(node, scale).values
    right = s.dtype == np.float32 and s.ndim <= 1 and s.size >= 1
    check_field(right, node, f"scale is {s.dtype} of shape {list(s.shape)}", "float32, one or one a channel")
    s = s.reshape(-1)
    wrong = ~(np.isfinite(s) & (s > 0))
    check_field(not wrong.any(), node, f"scale is {s[np.argmax(wrong)]}", "a finite, positive value")
    if not node.input(zero):
        return s, np.zeros(len(s), kind)
    z = walk.constant(node, zero).values
    right = z.ndim <= 1 and z.size in (1, len(s)) and z.dtype.kind in "iu"
    check_field(right, node, f"zero point is {z.dtype} of shape {list(z.shape)}", f"{len(s)} integers")
    return s, np.broadcast_to(z.reshape(-1), len(s))


def meaning(walk: Walk, node: Node, scale: int, zero: int, kind: str) -> Meaning:
    """What inputs ``scale`` and ``zero`` say of activations, whose type is that of the latter, or ``kind``."""
    s, z = scales(walk, node, scale, zero, np.dtype(kind))
    check_field(len(s) == 1, node, f"has {len(s)} scales for activations", "one")
    check_field(z.dtype.name in ("int8", "uint8"), node, f"has activations of type {z.dtype}", "int8 or uint8")
    return Meaning(z.dtype.name, int(z[0]), float(s[0]))


def axis(node: Node) -> int:
    """The axis of QuantizeLinear or DequantizeLinear, whose other attributes must say nothing."""
    options = node.options(axis=1, saturate=1, block_size=0, output_dtype=0, precision=0)
    for name in ("block_size", "output_dtype", "precision"):
        check_field(not options[name], node, f"{name} is {options[name]}", "not stated")
    return int(options["axis"])


def dequantized(walk: Walk, node: Node) -> Constant:
    """The constant that DequantizeLinear gives, its integers kept."""
    value, along = walk.constant(node, 0), axis(node)
    scale, zero = scales(walk, node, 1, 2, value.values.dtype)
    shape = value.values.shape
    check_field(value.scale is None, node, f"{value} is dequantized twice", "integers")
    fits = len(scale) == 1 or (-len(shape) <= along < len(shape) and shape[along] == len(scale))
    found = f"has {len(scale)} scales along axis {along} of {value}, {list(shape)}"
    check_field(fits, node, found, "one, or one for each along the axis")
    return Constant(value.name, value.values, scale, zero, along % len(shape) if len(scale) > 1 else 0)


def weights(node: Node, w: Constant) -> Integers:
    """The weights ``w`` (outputs, inputs) as int8, zero points subtracted, which must lose nothing."""
    assert w.scale is not None
    assert w.zero is not None
    right = w.values.dtype.name in ("int8", "uint8") and w.zero.dtype == w.values.dtype
    found = f"weights {w} are {w.values.dtype}, their zero point {w.zero.dtype}"
    check_field(right, node, found, "both int8 or both uint8", "quantize weights symmetrically, to int8")
    right = len(w.scale) == 1 or (w.axis == 0 and len(w.scale) == len(w.values))
    expected = f"one, or one for each of {len(w.values)} outputs"
    along = "" if w.axis == 0 else " along the inputs"
    check_field(right, node, f"weights {w} have {len(w.scale)} scales{along}", expected)
    values = w.values.astype(np.int16) - w.zero[:, np.newaxis].astype(np.int16)
    exact = values == values.astype(np.int8)
    found = f"weights {w} reach {values.flat[np.argmin(exact)]} when their zero point is subtracted"
    expected = "at most int8 holds, as int8 with zero point 0 and uint8 with 128 give"
    check_field(exact.all(), node, found, expected, "quantize weights symmetrically, to int8")
    moved = ", minus zero point" if w.zero.any() else ""
    text = f"{w.values.dtype} {list(values.shape)} of {w}{moved}, {scale_text(w.scale)}"
    return Integers(values.astype(np.int8), "exact", text)


def bias(node: Node, c: Constant, unit: Array, outputs: int) -> Integers:
    """The bias ``c`` in steps of ``unit``, float32 (1,) or (outputs,): int32 as it is, or a float that is rounded."""
    if c.values.dtype == np.float32 and c.scale is None:
        return _rounded_bias(node, c, unit, outputs)
    right = c.values.dtype == np.int32 and (c.zero is None or not c.zero.any())
    check_field(right, node, f"bias {c} is {c.values.dtype}" + ", with a zero point" * (c.zero is not None), "int32")
    if c.scale is not None:
        near = len(c.scale) in (1, outputs) and np.allclose(c.scale, unit.astype(np.float64), rtol=2.0**-16, atol=0)
        found = f"bias {c} has the scale {c.scale[0]:.9g}, its products {unit[0]:.9g}"
        check_field(near, node, found, "input scale * weight scale, at which engines take it")
    return Integers(vector(node, c.values, outputs).astype(np.int64), "exact", f"int32 {list(c.values.shape)} of {c}")


def _rounded_bias(node: Node, c: Constant, unit: Array, outputs: int) -> Integers:
    """As onnxruntime's optimizer does it: a float32 division, half even."""
    real = vector(node, c.values, outputs)
    with np.errstate(all="ignore"):  # what is not finite is refused
        steps = real / unit
        rounded = np.rint(steps)
        fits = np.abs(rounded) < 2.0**31
    found = f"bias {c} has {real[np.argmin(fits)]}, which no int32 holds at input scale * weight scale"
    check_field(fits.all(), node, found, "a bias that fits int32")
    error = np.abs(rounded - steps).max()
    text = f"float32 {list(c.values.shape)} of {c} rounded to input scale * weight scale, by {error:.2g} steps at most"
    return Integers(rounded.astype(np.int64), "approximated", text)
