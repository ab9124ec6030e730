"""Damaged ONNX files are an error with a code, never a traceback."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from frameworks.onnx_models import FORMS, build, random_model
from frameworks.test_onnx_float import classifier
from frameworks.test_onnx_refused import quantized
from intnn.errors import IntnnError
from intnn.formats.onnx import parse_onnx

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytestmark = pytest.mark.frameworks


def samples() -> list[bytes]:
    models = [build(random_model(seed, form, float_ends=bool(seed % 2))[0]) for seed, form in enumerate(FORMS)]
    return [*(m for m in models if len(m) < 5000), quantized(), quantized("qgemm"), classifier(True), classifier(False)]


def test_damaged_bytes() -> None:
    rng, found, whole = random.Random(11), Counter[str](), samples()
    for _ in range(3000):
        data = bytearray(rng.choice(whole))
        for _ in range(rng.choice([1, 1, 2, 4])):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(5):
                case 0:
                    data[at : at + 1] = bytes([rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])])
                case 1:
                    del data[at:]
                case 2:
                    del data[at : at + rng.randrange(1, 9)]
                case 3:
                    data[at:at] = rng.randbytes(rng.randrange(1, 9))
                case 4:
                    other = rng.choice(whole)
                    start = rng.randrange(len(other))
                    data[at:at] = other[start : start + rng.randrange(1, 60)]
        _count(found, bytes(data))
    assert {"onnx.file", "onnx.field", "onnx.operator", "read"} <= {*found}, found


def _count(found: Counter[str], data: bytes) -> None:
    """What became of ``data``; anything but a network and an error with a code goes through."""
    try:
        parse_onnx(data)
    except IntnnError as error:
        found[error.code] += 1
    else:
        found["read"] += 1


def test_well_formed_nonsense() -> None:
    """Protobuf messages whose fields were changed: other operators, names, attributes, types and shapes."""
    rng, found = random.Random(12), Counter[str]()
    whole = [onnx.load_from_string(data) for data in samples()]
    ops = sorted(
        {n.op_type for m in whole for n in m.graph.node} | {"Relu", "Clip", "Add", "Div", "Reshape", "Dropout"}
    )
    for _ in range(3000):
        model = onnx.ModelProto()
        model.CopyFrom(rng.choice(whole))
        g = model.graph
        names = [name for n in g.node for name in (*n.input, *n.output)] + [t.name for t in g.initializer]
        for _ in range(rng.randrange(1, 4)):
            node, tensor = rng.choice(g.node), rng.choice(g.initializer)
            match rng.randrange(9):
                case 0:
                    node.op_type = rng.choice(ops)
                case 1 if node.input:
                    node.input[rng.randrange(len(node.input))] = rng.choice(names)
                case 2:
                    node.output[0] = rng.choice(names)
                case 3:
                    names_of = ["alpha", "transB", "axis", "to", "perm", "shape", "min", "epsilon", "value"]
                    value = rng.choice([0, -1, 2**40, 1.5, float("nan"), float("inf"), [1, 0], [0.5], "text"])
                    node.attribute.append(onnx.helper.make_attribute(rng.choice(names_of), value))
                case 4:
                    tensor.data_type = rng.randrange(24)
                case 5:
                    tensor.dims[:] = [rng.choice([0, 1, 2, 3, -1, 2**62]) for _ in range(rng.randrange(4))]
                case 6 if tensor.raw_data:
                    tensor.raw_data = rng.randbytes(len(tensor.raw_data))
                case 7:
                    del g.node[rng.randrange(len(g.node))]
                    if not g.node:
                        break
                case 8:
                    g.input[0].type.tensor_type.shape.dim.add().dim_value = rng.choice([0, 3, -1])
        _count(found, model.SerializeToString())
    assert {"onnx.file", "onnx.field", "onnx.operator", "read"} <= {*found}, found
