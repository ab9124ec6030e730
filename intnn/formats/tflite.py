"""Networks from TFLite files: what is copied, what is derived, what is refused.

A ``.tflite`` file holds scales, and every engine derives multipliers and clamps from them in its own way, so an import
names the profile of the engine that is meant. Weights, biases, zero points and scales are copied bit for bit;
everything else is computed as that engine computes it, and a report says so line by line. What would change the
computation, or is not understood, is refused by name.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np

from intnn.bounds import require_valid
from intnn.errors import IntnnError
from intnn.formats.flatbuffer import (
    Array,
    File,
    Operator,
    Tensor,
    check_field,
    check_operator,
    printable,
    scale_text,
)
from intnn.formats.native import MAX_BYTES, read_bytes
from intnn.formats.report import Import, Line
from intnn.model import Q31, TYPES, Activation, Dense, Network, Scales
from intnn.profiles import activation_bounds, requantization, require_profile

INT16_ENGINES = {
    "int64": {"reduced15": "TFLM", "f64away": "LiteRT"},
    "int32": {"double": "TFLM", "upup": "LiteRT"},
    "int32 (stated)": {"double": "TFLM", "upup": "LiteRT", "f64away": "LiteRT BUILTIN_REF"},
    "no": {"reduced15": "TFLM", "upup": "LiteRT", "f64away": "LiteRT BUILTIN_REF"},
    "no (stated int32)": {"double": "TFLM", "upup": "LiteRT", "f64away": "LiteRT BUILTIN_REF"},
}
"""Which engine runs int16 activations under which profile; it depends on the type of the bias and on whether
``quantized_bias_type`` states it (measured: tflite_micro of 2026-10, ai-edge-litert 2.3.0, x86-64)."""

_OPERATORS = ("FULLY_CONNECTED", "RESHAPE", "QUANTIZE", "DEQUANTIZE")
_INTEGERS = {"int8": "<i1", "int32": "<i4", "int64": "<i8"}
_CONVERT = "convert the model with full integer quantization, int8 or int16x8, float input and output at most"


OPTIONS = {"activation": ("NONE", "RELU", "RELU6"), "weights_format": ("DEFAULT",)}
"""Options of FULLY_CONNECTED and their supported values; asymmetric_quantize_inputs concerns hybrid layers only."""


def import_tflite(path: str | Path, *, profile: str) -> Network:
    """The network in the TFLite file ``path``, valid and proved: :func:`read_tflite` without the report."""
    return read_tflite(path, profile=profile).network


def read_tflite(path: str | Path, *, profile: str) -> Import[Network]:
    """The network in the TFLite file ``path`` under ``profile`` (one of :data:`PROFILES`), and the report.

    Raises :class:`FileError` ``file.read``, and as :func:`parse_tflite`.
    """
    require_profile(profile)
    data = read_bytes(path)
    try:
        return parse_tflite(data, profile=profile, name=printable(Path(path).stem))
    except IntnnError as error:
        raise error.within(str(path)) from None


def parse_tflite(data: bytes, *, profile: str, name: str = "") -> Import[Network]:
    """The network in the bytes ``data`` of a TFLite file, valid and proved, and the report.

    Supported is one chain of FULLY_CONNECTED with int8 weights on int8 or int16 activations. Raises
    :class:`UsageError` ``usage.profile`` or ``usage.extra``; :class:`ForeignModelError` ``tflite.file``,
    ``tflite.operator`` or ``tflite.field``; :class:`ModelError` ``model.value`` where the scales lie outside the
    profile's domain, or ``model.overflow`` where some input drives a value out of int32.
    """
    require_profile(profile)
    chain = _Chain(File(data), profile)
    chain.follow()
    source = f"tflite sha256={hashlib.sha256(data).hexdigest()}"  # not the profile: another may be put in its place
    net = Network(chain.input, tuple(chain.layers), name, source)
    require_valid(net)
    return Import(net, tuple(chain.report))


class _Chain:
    """Follows the operators from the subgraph's input to its output; collects layers and report lines."""

    def __init__(self, file: File, profile: str) -> None:
        self.file = file
        self.profile = profile
        self.layers: list[Dense] = []
        self.report: list[Line] = []
        self.seen: set[int] = set()
        self.room = MAX_BYTES  # for all constants together: layers of a hostile file can share one large buffer
        self.input = Activation()
        self.now = self._activation(file.input)
        if self.now.type != "float32":
            self._begin(self.now)

    def follow(self) -> None:
        """Take every operator, each of which must work on what the one before gives."""
        steps = {"FULLY_CONNECTED": self._dense, "RESHAPE": self._reshape}
        for index in range(self.file.operators):
            op = self.file.operator(index)
            check_operator(op.name in _OPERATORS, op, "is not supported", "a chain of " + ", ".join(_OPERATORS))
            first = op.inputs[:1].tolist()
            check_field(
                first == [self.now.index],
                op,
                f"inputs begin with {first}",
                f"tensor {self.now.index}, as the chain goes on",
            )
            check_field(len(op.outputs) == 1, op, f"outputs are {len(op.outputs)} tensors", "one")
            after = self._activation(int(op.outputs[0]))
            steps.get(op.name, self._convert)(op, after)
            self.now = after
        right = self.file.output == self.now.index
        check_field(
            right, "subgraph", f"output is tensor {self.file.output}", f"tensor {self.now.index}, where the chain ends"
        )
        check_operator(bool(self.layers), "subgraph", "has no FULLY_CONNECTED", "at least one")

    def _activation(self, index: int) -> Tensor:
        """Tensor ``index`` as a value between two operators: plain, computed once, quantized as a whole."""
        t = self.file.tensor(index)
        check_field(index not in self.seen, t, "is written twice", "a chain, in which no tensor is used twice")
        self.seen.add(index)
        check_field(t.type in ("int8", "int16", "float32"), t, f"type is {t.type}", "int8 or int16", _CONVERT)
        check_field(t.data is None and not t.odd, t, t.odd or "is constant", "a plain tensor, computed at run time")
        self._require_shape(t, None)
        dynamic = (-1, *t.shape[1:]) if t.shape[0] == 1 else t.shape
        found, expected = f"shape_signature is {list(t.signature)}", f"{list(t.shape)}, a batch of 1 or dynamic (-1)"
        check_field(t.signature in ((), t.shape, dynamic), t, found, expected)
        if t.type != "float32":
            self._require_quantization(t, (1,))
            low, high = (0, 0) if t.type == "int16" else TYPES[t.type]
            expected = f"within [{low}, {high}] for {t.type}"
            check_field(low <= t.zero_point[0] <= high, t, f"zero_point is {t.zero_point[0]}", expected)
        return t

    def _require_shape(self, t: Tensor, rank: int | None) -> None:
        right = len(t.shape) == rank if rank else len(t.shape) > 0
        right = right and min(t.shape) >= 1
        check_field(right, t, f"shape is {list(t.shape)}", f"{rank or 'some'} dimensions, each at least 1")

    def _require_quantization(self, t: Tensor, counts: tuple[int, ...]) -> None:
        found = f"quantization has {len(t.scale)} scales and {len(t.zero_point)} zero points"
        right = len(t.scale) in counts and len(t.zero_point) in (1, len(t.scale))
        expected = " or ".join(str(count) for count in dict.fromkeys(counts))
        check_field(right, t, found, f"{expected} of each", _CONVERT)
        wrong = ~(np.isfinite(t.scale) & (t.scale > 0))
        check_field(not wrong.any(), t, f"scale is {t.scale[np.argmax(wrong)]}", "a finite, positive value")

    def _begin(self, t: Tensor) -> None:
        self.input = Activation(t.type, t.zero)
        self._say("input", "exact", t.meaning)

    def _convert(self, op: Operator, after: Tensor) -> None:
        """QUANTIZE before the first layer, DEQUANTIZE after the last: between floats and the integers."""
        ends = (self.now.type == "float32", after.type == "float32", bool(self.layers))
        right = ends == ((True, False, False) if op.name == "QUANTIZE" else (False, True, True))
        found = f"takes {self.now.type} to {after.type} after {len(self.layers)} layers"
        expected = "QUANTIZE from float32 before the first layer, DEQUANTIZE to float32 after the last"
        check_operator(right and len(op.inputs) == 1, op, found, expected)
        end, integers = ("output", self.now) if self.layers else ("input", after)
        self._say(str(op), "passed over", f"the network's {end} is the {integers.type} tensor")
        if not self.layers:
            self._begin(after)

    def _reshape(self, op: Operator, after: Tensor) -> None:
        shapes = [self.file.tensor(int(index)) for index in op.inputs[1:2]]
        right = len(op.inputs) <= 2 and all(shape.data is not None for shape in shapes)
        check_field(right, op, "inputs hold a shape that is not constant", "a constant shape, or none")
        right = math.prod(self.now.shape) == math.prod(after.shape) and self.now.meaning == after.meaning
        found, expected = (f"{list(t.shape)}, {t.meaning}" for t in (after, self.now))
        check_field(right, op, f"gives {found}", f"as many values, of the same meaning, as {expected}")
        self._say(str(op), "passed over", f"{list(self.now.shape)} to {list(after.shape)} moves nothing")

    def _dense(self, op: Operator, after: Tensor) -> None:
        before, place = self.now, f"layer {len(self.layers)}"
        right = before.type != "float32" and after.type == before.type
        found = f"takes {before.type} to {after.type}"
        check_field(right, op, found, "int8 to int8 or int16 to int16, not float, not hybrid", _CONVERT)
        for name, values in OPTIONS.items():
            check_field(op.options[name] in values, op, f"{name} is {op.options[name]}", "one of " + ", ".join(values))
        check_field(
            len(op.inputs) in (2, 3), op, f"inputs are {len(op.inputs)} tensors", "input, weights, perhaps bias"
        )
        w = self.file.tensor(int(op.inputs[1]))
        weights = self._weights(w)
        for t, size in ((before, weights.shape[1]), (after, weights.shape[0])):
            check_field(math.prod(t.shape) == size, t, f"shape is {list(t.shape)}", f"{size} values for {op}, batch 1")
        right = not op.options["keep_num_dims"] or before.shape[-1] == weights.shape[1]
        check_field(right, op, f"keep_num_dims with input {list(before.shape)}", f"[..., {weights.shape[1]}]")
        self._say(f"{place} weights", "exact", f"int8 {list(weights.shape)}, {scale_text(w.scale)}")
        weight_scale = w.scale.astype(np.float64) if len(w.scale) > 1 else float(w.scale[0])
        scales = Scales(float(before.scale[0]), weight_scale, float(after.scale[0]))
        bias = self._bias(op, place, scales, len(weights))
        bounds = activation_bounds(self.profile, op.options["activation"], after.type, after.zero, scales.output)
        with np.errstate(over="ignore"):  # a product of scales beyond float32 becomes infinite and is refused
            try:
                rule = requantization(self.profile, scales)
                layer = Dense(weights, bias, rule, Activation(after.type, after.zero, *bounds), scales)
            except IntnnError as error:
                raise error.within(place) from None
        self.layers.append(layer)
        self._say(f"{place} output", "exact", after.meaning)
        text = "min {}, max {} from {} [foreign.activation-bounds]".format(*bounds, op.options["activation"])
        self._say(f"{place} activation", "re-derived", text)
        self._say(f"{place} multiplier, exponent", "re-derived", _derivation(self.profile, rule))

    def _weights(self, t: Tensor) -> Array:
        """int8 (outputs, inputs), symmetric, per tensor or per output."""
        weights = self._constant(t, ("int8",), 2)
        self._require_quantization(t, (1, len(weights)))
        right = len(t.scale) == 1 or t.axis == 0
        check_field(right, t, f"quantized_dimension is {t.axis}", "0, the outputs")
        found = f"zero_point is {t.zero_point[np.argmax(t.zero_point != 0)]}"
        check_field(not t.zero_point.any(), t, found, "0 for weights", _CONVERT)
        return weights

    def _bias(self, op: Operator, place: str, scales: Scales, outputs: int) -> Array:
        """int32 or int64 (outputs,), zeros where the layer has none; every value fits int32."""
        if len(op.inputs) == 2 or op.inputs[2] == -1:
            self._say_engines(place, "no (stated int32)" if op.options["bias_type"] == "INT32" else "no")
            self._say(f"{place} bias", "exact", "absent, so zero")
            return np.zeros(outputs, np.int64)
        t = self.file.tensor(int(op.inputs[2]))
        bias = self._constant(t, ("int32",) if self.now.type == "int8" else ("int64", "int32"), 1)
        check_field(len(bias) == outputs, t, f"shape is {list(t.shape)}", f"[{outputs}], one bias an output")
        check_field(not t.zero_point.any(), t, "zero_point is not 0", "0 for a bias")
        right = self.now.type == "int8" or op.options["bias_type"] in ("FLOAT32", t.type.upper())
        check_field(
            right, op, f"quantized_bias_type is {op.options['bias_type']}", f"{t.type}, as the bias, or not stated"
        )
        wide = bias.astype(np.int32) != bias
        at = int(np.argmax(wide))
        check_field(not wide.any(), t, f"the bias of neuron {at} is {bias[at]}", "a value that fits int32")
        stated = t.type == "int32" and op.options["bias_type"] == "INT32"
        self._say_engines(place, f"{t.type} (stated)" if stated else t.type)
        self._say(f"{place} bias", "exact", f"{t.type} {list(t.shape)}")
        with np.errstate(over="ignore", under="ignore"):  # for the comparison only
            product = np.atleast_1d(np.float32(scales.input) * np.asarray(scales.weights, np.float32))
        if len(t.scale) and (len(t.scale) not in (1, outputs) or np.any(t.scale != product)):
            text = f"its own {scale_text(t.scale)} is ignored, as by engines: it is taken at input scale * weight scale"
            self._say(f"{place} bias", "note", text)
        return bias

    def _constant(self, t: Tensor, types: tuple[str, ...], rank: int) -> Array:
        """A constant's values, a view of the file: a size that is a lie allocates nothing."""
        check_field(t.type in types, t, f"type is {t.type}", " or ".join(types), _CONVERT)
        check_field(not t.odd, t, t.odd, "a plain tensor")
        self._require_shape(t, rank)
        size = math.prod(t.shape) * np.dtype(_INTEGERS[t.type]).itemsize  # Python ints, so no wrap
        data = np.zeros(0, np.uint8) if t.data is None else t.data
        check_field(len(data) == size, t, f"has {len(data)} bytes of constant data", f"{size}")
        self.room -= size
        check_field(self.room >= 0, t, "is one constant too many", f"at most {MAX_BYTES} bytes of constants")
        return data.view(_INTEGERS[t.type]).reshape(t.shape)

    def _say_engines(self, place: str, bias: str) -> None:
        """A note where no known engine runs such a layer under the profile."""
        if self.now.type == "int16" and self.profile not in INT16_ENGINES[bias]:
            known = ", ".join(f"{engine} uses `{profile}`" for profile, engine in INT16_ENGINES[bias].items())
            text = f"no known engine runs int16 activations and {bias} bias with `{self.profile}`: {known}"
            self._say(place, "note", text)
        elif self.now.type == "int8" and self.profile == "reduced15":
            self._say(place, "note", "no known engine runs int8 activations with `reduced15`")

    def _say(self, where: str, how: str, text: str) -> None:
        self.report.append(Line(where, how, text))


def _derivation(profile: str, rule: object) -> str:
    if not isinstance(rule, Q31):
        return f"none: the rule computes with the scales themselves [foreign.{profile}]"
    count = np.size(rule.multiplier)
    values = f"{rule.multiplier}, {rule.exponent}" if np.ndim(rule.multiplier) == 0 else f"{count} pairs"
    reduced = " [foreign.reduced15]" if profile == "reduced15" else ""
    return f"{values} from the scales [foreign.real-multiplier] [foreign.quantize-multiplier]{reduced}"
