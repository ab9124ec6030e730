"""Following an ONNX graph from its input to its output: a chain, beside which everything is constant.

Operators that are put after a network to read its answer (Softmax, ArgMax) are passed over, with what follows them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intnn.formats.onnx_file import Array, File, Node, check_field, check_file, check_operator, quote
from intnn.formats.report import Line

LAST = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax")
"""Passed over where nothing but reading the answer follows."""

READING = (
    *LAST,
    *("ArrayFeatureExtractor", "Cast", "Concat", "DequantizeLinear", "Identity", "QuantizeLinear", "Reshape"),
    *("Sub", "TopK", "ZipMap"),
)
"""What may follow one of :data:`LAST`."""

HOW = {
    "Conv": "intnn knows dense layers only",
    "DynamicQuantizeLinear": "its scales are chosen at run time: quantize with onnxruntime's quantize_static instead",
    "QLinearAdd": "make MatMul and Add one Gemm before quantizing, as onnxruntime's quant_pre_process does",
}
"""What to do about operators that people meet."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant; ``scale`` and ``zero``, arrays of the same length, if it is dequantized, along ``axis`` if many."""

    name: str
    values: Array
    scale: Array | None = None
    zero: Array | None = None
    axis: int = 0

    @property
    def transposed(self) -> Constant:
        """Of two dimensions: rows for columns."""
        return replace(self, values=self.values.T, axis=1 - self.axis)

    def __str__(self) -> str:
        return quote(self.name)


class Walk(ABC):
    """Takes every node, each of which must work on what the one before gives.

    ``now`` is the name of the value that the chain has come to, ``shape`` its shape as far as it is known.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.report: list[Line] = []
        self.now, self.shape = file.input, file.shape
        self._constants: dict[str, Constant] = {}
        self._passed: set[str] = set()  # values of the chain before ``now``
        self._beyond: dict[str, Node] = {}  # values after the network's end, and what ended it

    @property
    @abstractmethod
    def steps(self) -> dict[str, Callable[[Node], None]]:
        """What is done with each supported operator."""

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The shape; if nothing is known of it, that of rows."""
        return (None, None) if self.shape is None else self.shape

    def follow(self) -> None:
        """Take every node."""
        passing = {"Flatten": self._flatten, "Reshape": self._reshape, "Identity": self._pass, "Dropout": self._dropout}
        steps = passing | self.steps
        for node in self.file.nodes:
            self._check_names(node)
            if any(name in self._beyond for name in node.inputs):
                self._read(node)
            elif not any(name == self.now or name in self._passed for name in node.inputs):
                self.fold(node)
            elif node.op in LAST:
                self._end(node)
            else:
                supported = ", ".join((*steps, *LAST))
                check_operator(
                    node.op in steps, node, "is not supported", "a chain of " + supported, HOW.get(node.op, "")
                )
                self._check_chain(node)
                steps[node.op](node)
                self._passed.add(self.now)
                self.now = node.outputs[0]
        check_field(self.file.outputs, "graph", "has no output", "one")
        for name in self.file.outputs:
            found, expected = f"output is {quote(name)}", f"{quote(self.now)}, where the chain ends"
            check_field(name == self.now or name in self._beyond, "graph", found, expected)
        self.end("graph")

    def fold(self, node: Node) -> None:
        """A node whose inputs are all constant."""
        check_operator(
            node.op in ("Identity", "Transpose") and len(node.outputs) == 1,
            node,
            "on constants is not supported",
            "constants as they are used",
            "fold constants: onnxruntime does, with a SessionOptions.optimized_model_filepath at its basic level",
        )
        value = self.constant(node, 0)
        if node.op == "Transpose":
            perm = node.options(perm=[1, 0])["perm"]
            right = value.values.ndim == 2 and perm == [1, 0]
            check_field(right, node, f"perm is {perm} on shape {list(value.values.shape)}", "a matrix, transposed")
            value = value.transposed
        self.keep(node, value)

    def keep(self, node: Node, value: Constant) -> None:
        """``node`` gives the constant ``value``."""
        self._constants[node.outputs[0]] = value

    def constant(self, node: Node, index: int) -> Constant:
        """Input ``index`` of ``node``, which must be there and constant."""
        name = node.input(index)
        if name in self._constants:
            return self._constants[name]
        found = f"input {index} is " + (f"{quote(name)}, computed at run time" if name else "missing")
        check_field(name and self.file.holds(name), node, found, "a constant")
        return Constant(name, self.file.constant(name))

    def beside(self, node: Node) -> Constant:
        """The constant of an operator of two inputs, the other of which is the chain."""
        check_field(len(node.inputs) == 2, node, f"has {len(node.inputs)} inputs", "two")
        return self.constant(node, 1 if node.inputs[0] == self.now else 0)

    def clip(self, node: Node) -> tuple[float, float]:
        """The bounds of Relu or Clip."""
        if node.op == "Relu":
            node.options()
            return 0.0, math.inf
        options = node.options(min=-math.inf, max=math.inf)  # attributes before opset 11, since then inputs
        bounds = [options["min"], options["max"]]
        for i in (0, 1):
            if node.input(1 + i):
                bound = self.constant(node, 1 + i).values
                right = bound.size == 1 and bound.dtype.kind == "f"
                check_field(right, node, f"input {1 + i} is {bound.dtype} of shape {list(bound.shape)}", "one float")
                bounds[i] = float(bound.reshape(-1)[0])
        low, high = bounds
        check_field(low < high, node, f"min is {low:g} and max {high:g}", "min < max")
        return low, high

    def matrix(self, node: Node, value: Constant, outputs_first: bool) -> Constant:
        """``value`` as the weights of a layer, as stored; takes the chain's shape on."""
        shape = value.values.shape
        check_field(len(shape) == 2 and 0 not in shape, node, f"weights {value} have shape {list(shape)}", "a matrix")
        outputs, inputs = shape if outputs_first else shape[::-1]
        batch, *rest = self.dims
        right = len(rest) == 1 and rest[0] in (None, inputs)
        found = f"takes {quote(self.now)} of shape {_text(self.shape)}"
        check_field(right, node, found, f"(batch, {inputs}), as its weights {value} say")
        self.shape = (batch, outputs)
        return value

    def say(self, where: object, how: str, text: str) -> None:
        """Add a line to the report."""
        self.report.append(Line(str(where), how, text))

    def passed_over(self, node: Node, text: str) -> None:
        """Report ``node`` as without effect."""
        self.say(node, "passed over", text)

    @abstractmethod
    def end(self, place: object) -> None:
        """The network ends at ``place``; refuses that where it cannot."""

    def _check_names(self, node: Node) -> None:
        """Every input is there; no output was there before."""
        chain = {self.now, *self._passed, *self._beyond}
        for name in filter(None, node.inputs):
            known = name in chain or name in self._constants or self.file.holds(name)
            check_file(known, node, f"input {quote(name)} is not there", "what an earlier node gives")
        check_file(bool(node.outputs) and node.outputs[0], node, "has no output", "one")
        for name in filter(None, node.outputs):
            new = not (name in chain or name in self._constants or self.file.holds(name))
            check_file(new, node, f"output {quote(name)} is defined twice", "one definition a name")

    def _check_chain(self, node: Node) -> None:
        chain = [name for name in node.inputs if name == self.now or name in self._passed]
        found = f"inputs are {', '.join(map(quote, chain))}"
        check_field(chain == [self.now], node, found, f"{quote(self.now)} once: a chain without branches")
        if self._beyond:
            other = next(iter(self._beyond.values()))
            check_operator(False, other, f"is beside {node}", "at the end of a chain without branches")
        if node.op not in ("Add", "Mul"):
            check_field(node.inputs[0] == self.now, node, f"input 0 is {quote(node.inputs[0])}", quote(self.now))

    def _end(self, node: Node) -> None:
        self.end(node)
        self.passed_over(node, f"the network's output is what {node.op} takes")
        self._beyond.update(dict.fromkeys(node.outputs, node))

    def _read(self, node: Node) -> None:
        first = next(self._beyond[name] for name in node.inputs if name in self._beyond)
        expected = ", ".join(LAST) + " at the end only"
        check_operator(node.op in READING, node, f"follows {first}, which is not supported within", expected)
        self.passed_over(node, f"follows {first.op}")
        self._beyond.update(dict.fromkeys(node.outputs, first))

    def _pass(self, node: Node) -> None:
        node.options()
        self.passed_over(node, "moves nothing")

    def _dropout(self, node: Node) -> None:
        node.options(ratio=0.5, seed=0, training_mode=0)
        training = node.input(2) and bool(self.constant(node, 2).values.any())
        check_field(not training, node, "training_mode is true", "a model for inference")
        self.passed_over(node, "does nothing in inference")

    def _flatten(self, node: Node) -> None:
        axis = node.options(axis=1)["axis"]
        rank = None if self.shape is None else len(self.shape)
        check_field(axis == 1 or (rank and axis == 1 - rank), node, f"axis is {axis}", "1: a row for each of the batch")
        batch, *rest = self.dims
        self._reshaped(node, (batch, _product(rest)))

    def _reshape(self, node: Node) -> None:
        options = node.options(allowzero=0, shape=[0])  # before opset 5 the shape is an attribute
        target = self.constant(node, 1).values.reshape(-1).tolist() if node.input(1) else options["shape"]
        expected = "the rows of the batch kept as they are"
        right = 1 < len(target) < 9 and min(target) >= -1 and target.count(-1) < 2 and not options["allowzero"]
        check_field(right, node, f"shape is {target}", expected)
        batch, *rest = self.dims
        size, (first, *row) = _product(rest), target
        row = [rest[i] if t == 0 and i < len(rest) else t for i, t in enumerate(row)]
        kept = first == 0 or (first == batch and batch is not None)
        if -1 in row:
            others = _product([t for t in row if t != -1])
            right = kept and (len(row) == 1 or (size is not None and bool(others) and size % (others or 1) == 0))
            row = [size if len(row) == 1 else size // others if t == -1 and size and others else t for t in row]
        else:
            right = (kept or first == -1) and (size is None or _product(row) == size)
        check_field(right, node, f"takes {_text(self.shape)} to {target}", expected)
        self._reshaped(node, (batch, *row))

    def _reshaped(self, node: Node, shape: Any) -> None:
        self.passed_over(node, f"{_text(self.shape)} to {_text(shape)} moves nothing")
        self.shape = shape


def vector(node: Node, values: Array, size: int) -> Array:
    """``values`` as (``size``,), one for each of a row's: of that many along the last dimension, or a single one."""
    right = values.size in (1, size) and (values.ndim == 0 or values.shape[-1] == values.size) and values.ndim <= 2
    check_field(right, node, f"adds or scales by shape {list(values.shape)}", f"[{size}], one for each of a row")
    return np.broadcast_to(values.reshape(-1), (size,))


def _product(dims: Any) -> int | None:
    return None if None in dims else math.prod(dims)


def _text(shape: Any) -> str:
    return "unknown" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
