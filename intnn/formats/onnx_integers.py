"""Quantized networks from ONNX graphs: QGemm, QLinearMatMul, and layers between DequantizeLinear and QuantizeLinear.

Integers and scales are copied; the rounding is the profile's. onnxruntime 1.32 computes QGemm and QLinearMatMul, and
the layers that its optimizer turns into them, as ``fp32even`` does. It leaves layers as they are

- with a clip that is narrower than the output's type: Relu unless the zero point is the type's least value, Clip;
- with int8 on one side and uint8 on the other, which the optimizer makes, too: where the graph's input and output are
  int8 themselves, not floats, it turns what lies between layers into uint8 (unless session.qdqisint8allowed is 1).

Such layers are computed in float32, each product rounded, in an order that is not specified. Where scales are powers of
two that is exact, and the same; otherwise an output next to a tie can differ by one, and all that comes after with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from intnn.bounds import require_valid
from intnn.errors import IntnnError
from intnn.foreign import FOREIGN
from intnn.formats.onnx_file import Array, File, Node, check_field, check_operator
from intnn.formats.onnx_scales import Integers, Meaning, axis, bias, dequantized, meaning, weights
from intnn.formats.onnx_scales import scales as scales_of
from intnn.formats.onnx_walk import Constant, Walk
from intnn.formats.report import Import
from intnn.model import TYPES, Activation, Dense, Network, Scales
from intnn.profiles import requantization

_IN_FLOATS = "onnxruntime computes a layer with such a clip in float32: outputs next to a tie can differ from it by one"
_LAYERS = "a chain of DequantizeLinear, Gemm or MatMul and Add, Relu or Clip, QuantizeLinear"


@dataclass(frozen=True, eq=False)
class Real:
    """Values after DequantizeLinear, perhaps clipped."""

    meaning: Meaning
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, eq=False)
class Sum:
    """A layer before QuantizeLinear: ``weights`` int8 (outputs, inputs), ``scale`` theirs, ``bias`` if it was met."""

    source: Meaning
    weights: Array
    scale: Array
    bias: Array | None = None
    low: float = -math.inf
    high: float = math.inf


class IntegerWalk(Walk):
    """Collects layers. ``at``: what the chain has come to, ``None`` for the graph's input."""

    def __init__(self, file: File, profile: str) -> None:
        super().__init__(file)
        self.profile = profile
        self.layers: list[Dense] = []
        self.at: Meaning | Real | Sum | None = None
        self.input = Activation()

    def network(self, name: str, source: str) -> Import[Network]:
        """The network, valid and proved, and the report."""
        types = ("FLOAT", "INT8", "UINT8")
        check_field(self.file.type in types, "graph", f"input is of type {self.file.type}", ", ".join(types))
        self.follow()
        net = Network(self.input, tuple(self.layers), name, source)
        require_valid(net)
        return Import(net, tuple(self.report))

    @property
    def steps(self) -> dict[str, Callable[[Node], None]]:
        """See :class:`Walk`."""
        return {
            "QuantizeLinear": self._quantize,
            "DequantizeLinear": self._dequantize,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Add": self._add,
            "Relu": self._clip,
            "Clip": self._clip,
            "QGemm": self._qgemm,
            "QLinearMatMul": self._qlinear,
        }

    def end(self, place: object) -> None:
        """See :class:`Walk`."""
        right = isinstance(self.at, Meaning) or (isinstance(self.at, Real) and not _clipped(self.at))
        expected = "QuantizeLinear after the last layer"
        check_operator(right, place, "ends the network in floats that are not quantized", expected)
        check_operator(self.layers, place, "ends the network before any layer", "at least one")

    # --- between floats and integers --------------------------------------------------------------------------------

    def fold(self, node: Node) -> None:
        """See :class:`Walk`; DequantizeLinear keeps the integers."""
        if node.op == "DequantizeLinear":
            self.keep(node, dequantized(self, node))
        else:
            super().fold(node)

    def _quantize(self, node: Node) -> None:
        axis(node)
        after = meaning(self, node, 1, 2, "uint8")
        match self.at:
            case None if self.file.type == "FLOAT":
                self.passed_over(node, f"the network's input is the {after.type} tensor")
                self._begin(after)
            case Sum() as layer:
                self._close(node, layer, after)
            case Real() as real if real.meaning == after and self.layers:
                self._clip_again(node, real)
            case _:
                found = f"takes {self.at.meaning if isinstance(self.at, Real) else 'integers'} to {after}"
                check_operator(False, node, found, "QuantizeLinear from floats at the start, or after a layer")
        self.at = after

    def _clip_again(self, node: Node, real: Real) -> None:
        """A clip between DequantizeLinear and QuantizeLinear of the same meaning narrows the clamp."""
        out, place = self.layers[-1].output, f"layer {len(self.layers) - 1} activation"
        low, high = max(out.min, real.meaning.quantized(real.low)), min(out.max, real.meaning.quantized(real.high))
        check_field(low <= high, node, f"leaves the range [{low}, {high}]", "some values")
        self.layers[-1] = replace(self.layers[-1], output=replace(out, min=low, max=high))
        self.say(place, "re-derived", f"min {low}, max {high}, {_made_of(real)}")

    def _dequantize(self, node: Node) -> None:
        axis(node)
        given = self._integers(node, 1, 2)
        self.at = Real(given)
        if node.outputs[0] in self.file.outputs:
            self.passed_over(node, f"the network's output is the {given.type} tensor")

    def _begin(self, given: Meaning) -> None:
        self.at, self.input = given, Activation(given.type, given.zero)
        self.say("input", "exact", str(given))

    def _integers(self, node: Node, scale: int, zero: int) -> Meaning:
        """The chain's integers, as inputs ``scale`` and ``zero`` of ``node`` say, which must be what they mean."""
        kind = self.file.type.lower() if self.at is None else self.at.type if isinstance(self.at, Meaning) else "float"
        check_operator(kind in ("int8", "uint8"), node, f"takes {kind}", "integers, after QuantizeLinear")
        said = meaning(self, node, scale, zero, kind)
        check_field(said.type == kind, node, f"takes {kind} with a zero point of {said.type}", "the same type")
        if self.at is None:
            self._begin(said)
        check_field(self.at == said, node, f"takes its input as {said}", f"{self.at}, as it is given")
        return said

    # --- layers -----------------------------------------------------------------------------------------------------

    def _matmul(self, node: Node) -> None:
        node.options()
        self._product(node, False)

    def _gemm(self, node: Node) -> None:
        options = node.options(alpha=1.0, beta=1.0, transA=0, transB=0)
        for name, value in (("alpha", 1), ("beta", 1), ("transA", 0)):
            check_field(options[name] == value, node, f"{name} is {options[name]:g}", f"{value}")
        layer = self._product(node, bool(options["transB"]))
        if node.input(2):
            self._bias(node, layer, self.constant(node, 2))

    def _product(self, node: Node, outputs_first: bool) -> Sum:
        right = isinstance(self.at, Real) and not _clipped(self.at)
        check_operator(right, node, "does not follow DequantizeLinear", _LAYERS)
        assert isinstance(self.at, Real)
        w = self.constant(node, 1)
        found, expected = f"weights {w} are {w.values.dtype}", "int8, through DequantizeLinear"
        check_field(w.scale is not None, node, found, expected, "quantize the weights too")
        self.at = self._sum(node, self.at.meaning, w, outputs_first)
        return self.at

    def _sum(self, node: Node, source: Meaning, w: Constant, outputs_first: bool) -> Sum:
        w = self.matrix(node, w, outputs_first)
        w = w if outputs_first else w.transposed
        assert w.scale is not None
        return Sum(source, self._say_integers("weights", weights(node, w)), w.scale)

    def _add(self, node: Node) -> None:
        node.options()
        right = isinstance(self.at, Sum) and self.at.bias is None and not _clipped(self.at)
        expected = "a bias after MatMul, before its activation"
        check_operator(right, node, "does not follow MatMul", expected, "make MatMul and Add one Gemm, then quantize")
        assert isinstance(self.at, Sum)
        self._bias(node, self.at, self.beside(node))

    def _bias(self, node: Node, layer: Sum, c: Constant) -> None:
        found, expected = f"bias {c} is {c.values.dtype}", "int32, through DequantizeLinear, or float32"
        check_field(c.scale is not None or c.values.dtype == np.float32, node, found, expected)
        with np.errstate(over="ignore", under="ignore"):  # what is not finite holds no bias
            unit = np.float32(layer.source.scale) * layer.scale
        self.at = replace(layer, bias=self._say_integers("bias", bias(node, c, unit, len(layer.weights))))

    def _say_integers(self, what: str, integers: Integers) -> Array:
        self.say(f"layer {len(self.layers)} {what}", integers.how, integers.text)
        return integers.values

    def _clip(self, node: Node) -> None:
        low, high = self.clip(node)
        right = isinstance(self.at, Sum) or (isinstance(self.at, Real) and self.layers)
        check_operator(right, node, "does not follow a layer", _LAYERS)
        assert isinstance(self.at, Sum | Real)
        low, high = max(self.at.low, low), min(self.at.high, high)
        check_field(low < high, node, f"leaves the range [{low:g}, {high:g}]", "some values")
        self.at = replace(self.at, low=low, high=high)

    def _close(self, node: Node, layer: Sum, output: Meaning) -> None:
        """The layer ends: its clip becomes the clamp of its output, its scales a requantization."""
        place = f"layer {len(self.layers)}"
        low, high = output.quantized(layer.low), output.quantized(layer.high)
        scale = float(layer.scale[0]) if len(layer.scale) == 1 else layer.scale.astype(np.float64)
        numbers = np.zeros(len(layer.weights), np.int64) if layer.bias is None else layer.bias
        try:
            scales = Scales(layer.source.scale, scale, output.scale)
            rule = requantization(self.profile, scales)
            dense = Dense(layer.weights, numbers, rule, Activation(output.type, output.zero, low, high), scales)
        except IntnnError as error:
            raise error.within(place) from None
        self.layers.append(dense)
        if layer.bias is None:
            self.say(f"{place} bias", "exact", "absent, so zero")
        self.say(f"{place} output", "exact", str(output))
        text = f"min {low}, max {high}, {_made_of(layer)}"
        self.say(f"{place} activation", *(("re-derived", text) if _clipped(layer) else ("exact", "none")))
        if (low, high) != TYPES[output.type]:
            self.say(f"{place} activation", "note", _IN_FLOATS)
        own = f"none: the rule computes with the scales themselves [foreign.{self.profile}]"
        derived = "from the scales [foreign.real-multiplier] [foreign.quantize-multiplier]"
        self.say(f"{place} multiplier, exponent", "re-derived", own if self.profile in FOREIGN else derived)

    # --- integer operators ------------------------------------------------------------------------------------------

    def _qlinear(self, node: Node) -> None:
        node.options()
        self._whole(node, False, None, 6)

    def _qgemm(self, node: Node) -> None:
        options = node.options(alpha=1.0, transA=0, transB=0)
        for name, value in (("alpha", 1), ("transA", 0)):
            check_field(options[name] == value, node, f"{name} is {options[name]:g}", f"{value}")
        check_operator(node.input(7), node, "gives floats, for it has no output scale", "an output that is quantized")
        self._whole(node, bool(options["transB"]), 6 if node.input(6) else None, 7)

    def _whole(self, node: Node, outputs_first: bool, bias_at: int | None, output: int) -> None:
        """Input, weights, each with scale and zero point, perhaps a bias, then scale and zero point of the output."""
        source = self._integers(node, 1, 2)
        w = self.constant(node, 3)
        scale, zero = scales_of(self, node, 4, 5, w.values.dtype)
        w = replace(w, scale=scale, zero=zero, axis=0 if outputs_first else 1)
        layer = self._sum(node, source, w, outputs_first)
        if bias_at is not None:
            c = self.constant(node, bias_at)
            check_field(c.values.dtype == np.int32, node, f"bias {c} is {c.values.dtype}", "int32")
            layer = replace(layer, bias=self._say_integers("bias", bias(node, c, layer.scale, len(layer.weights))))
        after = meaning(self, node, output, output + 1, source.type)
        self._close(node, layer, after)
        self.at = after


def _clipped(values: Real | Sum) -> bool:
    return (values.low, values.high) != (-math.inf, math.inf)


def _made_of(values: Real | Sum) -> str:
    return f"what QuantizeLinear makes of {values.low:g} and {values.high:g}"
