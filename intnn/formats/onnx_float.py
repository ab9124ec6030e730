"""Networks of floats from ONNX graphs: products, sums and clips, told as the steps of a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from intnn.floats.network import FloatNetwork
from intnn.formats.chain import assemble
from intnn.formats.onnx_file import Array, Node, check_field, check_operator
from intnn.formats.onnx_walk import Constant, Walk, vector
from intnn.formats.report import Import
from intnn.formats.steps import Affine, Clip, Linear, Member, Step

_NUMBERS = ("FLOAT", "DOUBLE", "INT8", "UINT8", "INT16", "UINT16", "INT32", "INT64")
_FLOATS = {1: "FLOAT", 11: "DOUBLE"}


class FloatWalk(Walk):
    """Collects the steps; ``at`` is where the last of them left the chain: at its ``start``, at a ``sum`` that a layer
    can still take into itself, at values that are ``clipped``, or ``scaled`` for the next layer."""

    at = "start"

    def network(self, name: str) -> Import[FloatNetwork]:
        """The network and the report. Raises as :func:`intnn.formats.chain.assemble`."""
        check_field(self.file.type in _NUMBERS, "graph", f"input is of type {self.file.type}", ", ".join(_NUMBERS))
        self._steps: list[Step] = []
        self.follow()
        found = {"start": "has no layer", "scaled": "scales the output after the last activation"}
        check_operator(
            self.at not in found, "graph", found.get(self.at, ""), "layers, an activation at most at the end"
        )
        return assemble(self._sized(), name=name, report=self.report)

    @property
    def steps(self) -> dict[str, Callable[[Node], None]]:
        """See :class:`Walk`."""
        clips, scalings = ("Relu", "Clip"), ("Add", "Sub", "Mul", "Div", "Scaler", "BatchNormalization")
        steps: dict[str, Callable[[Node], None]] = {"Gemm": self._gemm, "MatMul": self._matmul, "Cast": self._cast}
        return steps | dict.fromkeys(clips, self._clip) | dict.fromkeys(scalings, self._scale)

    def end(self, place: object) -> None:
        """See :class:`Walk`."""
        check_operator(self.at != "start", place, "ends the network before any layer", "at least one")
        check_operator(
            self.at != "scaled", place, "ends the network in what is scaled after a clip", "a layer after it"
        )

    def _matmul(self, node: Node) -> None:
        node.options()
        weights = self.matrix(node, self._floats(node, 1), outputs_first=False)
        self._add(Linear(Member(weights.name, weights.values), None, False))

    def _gemm(self, node: Node) -> None:
        options = node.options(alpha=1.0, beta=1.0, transA=0, transB=0)
        check_field(not options["transA"], node, "transA is 1", "0: a row for each of the batch")
        turned = bool(options["transB"])
        weights = self.matrix(node, self._floats(node, 1), turned)
        outputs = weights.values.shape[0 if turned else 1]
        bias = None
        if node.input(2):
            c = self._floats(node, 2)
            bias = Member(c.name, vector(node, c.values, outputs))
        plain = (options["alpha"], options["beta"] if bias else 1.0) == (1.0, 1.0)
        self._add(Linear(Member(weights.name, weights.values), bias if plain else None, turned))
        if not plain:
            offset = np.zeros(outputs) if bias is None else options["beta"] * bias.values.astype(np.float64)
            self._steps.append(Affine(f"alpha and beta of {node}", np.full(outputs, options["alpha"]), offset))

    def _add(self, step: Linear) -> None:
        self._steps.append(step)
        self.at = "sum"

    def _clip(self, node: Node) -> None:
        low, high = self.clip(node)
        check_operator(self.at in ("sum", "clipped"), node, "does not follow a layer", "an activation after a layer")
        self._steps.append(Clip(str(node), low, high))
        self.at = "clipped"

    def _cast(self, node: Node) -> None:
        to = node.options(to=0, saturate=1, round_mode=b"")["to"]
        check_field(to in _FLOATS, node, f"to is type {to}", " or ".join(f"{n} ({t})" for n, t in _FLOATS.items()))
        self.passed_over(node, f"casts to {_FLOATS[to]}")

    def _scale(self, node: Node) -> None:
        """Adds, multiplies or normalizes by constants: the bias of the product before, or a scaling."""
        if node.op == "BatchNormalization":
            factor, offset = self._normalization(node)
        elif node.op == "Scaler":
            options = node.options(offset=[0.0], scale=[1.0])
            factor, mean = np.array(options["scale"]), np.array(options["offset"])
            offset = -mean * factor
        else:
            node.options()
            value = self._floats(node)
            last = self._steps[-1] if self._steps else None
            if node.op == "Add" and isinstance(last, Linear) and last.bias is None:
                self._steps[-1] = replace(last, bias=Member(value.name, self._row(node, value.values)))
                return
            real = value.values.astype(np.float64)
            check_field(node.op != "Div" or real.all(), node, f"divides by 0 in {value}", "finite values")
            sign = -1 if node.op == "Sub" else 1
            factor = {"Mul": real, "Div": 1 / real if node.op == "Div" else real}.get(node.op, np.ones(()))
            offset = np.zeros(()) if node.op in ("Mul", "Div") else sign * real
        factor, offset = np.broadcast_arrays(self._row(node, factor), self._row(node, offset))
        self._steps.append(Affine(str(node), factor.astype(np.float64), offset.astype(np.float64)))
        self.at = "sum" if self.at == "sum" else "scaled"

    def _normalization(self, node: Node) -> tuple[Array, Array]:
        options = node.options(epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
        right = not options["training_mode"] and len(node.outputs) == 1
        check_field(right, node, "is in training mode", "a model for inference")
        scale, shift, mean, variance = (self._floats(node, i).values.astype(np.float64) for i in range(1, 5))
        check_field((variance >= 0).all(), node, "has a negative variance", "variances")
        with np.errstate(all="ignore"):  # what is not finite is refused as part of the layer
            factor = scale / np.sqrt(variance + options["epsilon"])
            return factor, shift - mean * factor

    def _floats(self, node: Node, index: int | None = None) -> Constant:
        """Input ``index``, or the one beside the chain."""
        value = self.beside(node) if index is None else self.constant(node, index)
        right = value.values.dtype.kind == "f"
        check_field(right, node, f"{value} is {value.values.dtype}, not computed in floats", "float32 or float64")
        check_field(np.isfinite(value.values).all(), node, f"{value} holds infinity or NaN", "finite values")
        return value

    def _row(self, node: Node, values: Array) -> Array:
        """``values`` for each of a row's, or a single one where the row's length is not known yet."""
        if values.size == 1 and self.at == "start":
            return vector(node, values, 1)
        _, *row = self.dims
        check_field(len(row) == 1, node, f"scales values of {1 + len(row)} dimensions", "(batch, n), or one factor")
        return vector(node, values, values.size if row[0] is None else row[0])

    def _sized(self) -> list[Step]:
        """The steps, every scaling as long as the vector it scales."""
        layers = [step for step in self._steps if isinstance(step, Linear)]
        size, steps = layers[0].weights.values.shape[1 if layers[0].outputs_first else 0], list[Step]()
        for step in self._steps:
            if isinstance(step, Linear):
                size = step.weights.values.shape[0 if step.outputs_first else 1]
            elif isinstance(step, Affine) and len(step.factor) == 1 != size:
                step = replace(step, factor=np.full(size, step.factor[0]), offset=np.full(size, step.offset[0]))
            steps.append(step)
        return steps
