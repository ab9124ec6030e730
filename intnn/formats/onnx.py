"""Networks from ONNX files: of floats, to be quantized, or quantized already, with their integers as they are.

Read are chains of dense layers; what would change the computation, or is not understood, is refused by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from intnn.errors import IntnnError
from intnn.floats.network import FloatNetwork
from intnn.formats.flatbuffer import printable
from intnn.formats.native import read_bytes
from intnn.formats.onnx_file import File, check_operator
from intnn.formats.onnx_float import FloatWalk
from intnn.formats.onnx_integers import IntegerWalk
from intnn.formats.report import Import
from intnn.model import Network
from intnn.profiles import require_profile

PROFILE = "fp32even"
"""The rounding of onnxruntime's integer operators [foreign.fp32even]."""

Read = TypeVar("Read")


def read_onnx(path: str | Path, *, profile: str | None = None) -> Import[FloatNetwork] | Import[Network]:
    """Whichever network the ONNX file ``path`` holds: as :func:`read_float` or :func:`read_quantized` reads it."""
    return _read(path, lambda data, name: parse_onnx(data, profile=profile, name=name))


def read_float(path: str | Path) -> Import[FloatNetwork]:
    """The network of floats in the ONNX file ``path``, and the report.

    Supported is one chain of Gemm or MatMul and Add, Relu and Clip, BatchNormalization, Add, Sub, Mul and Div by
    constants, which go into the layer beside them; Flatten, Reshape, Identity and Dropout are passed over, and Softmax,
    Sigmoid and ArgMax at the end. Raises :class:`FileError` ``file.read``; :class:`UsageError` ``usage.extra``;
    :class:`ForeignModelError` ``onnx.file``, ``onnx.operator`` (a quantized network, too) or ``onnx.field``.
    """
    return _read(path, _parse_float)


def read_quantized(path: str | Path, *, profile: str | None = None) -> Import[Network]:
    """The quantized network in the ONNX file ``path``, valid and proved, and the report.

    Supported is one chain of QGemm, QLinearMatMul, and of Gemm or MatMul and Add, Relu and Clip between
    DequantizeLinear and QuantizeLinear, on int8 or uint8 activations; QuantizeLinear at the start and DequantizeLinear
    at the end are passed over. ``profile`` is one of :data:`intnn.profiles.PROFILES`, :data:`PROFILE` if not said.
    Raises as :func:`read_float`, and :class:`UsageError` ``usage.profile``, :class:`ModelError` ``model.value`` where
    the scales lie outside the profile's domain, or ``model.overflow`` where some input drives a value out of int32.
    """
    return _read(path, lambda data, name: _parse_quantized(data, profile, name))


def parse_onnx(data: bytes, *, profile: str | None = None, name: str = "") -> Import[FloatNetwork] | Import[Network]:
    """Whichever network the bytes ``data`` of an ONNX file hold; see :func:`read_onnx`."""
    require_profile(profile or PROFILE)
    file = File(data)
    return _quantized(file, data, profile, name) if _is_quantized(file) else FloatWalk(file).network(name)


def _parse_float(data: bytes, name: str) -> Import[FloatNetwork]:
    file = File(data)
    repair = "import it as it is: intnn import MODEL.onnx -o model.json"
    check_operator(not _is_quantized(file), "graph", "holds a network that is quantized", "one of floats", repair)
    return FloatWalk(file).network(name)


def _parse_quantized(data: bytes, profile: str | None, name: str) -> Import[Network]:
    require_profile(profile or PROFILE)
    file = File(data)
    repair = "quantize it: intnn quantize MODEL.onnx --calib X.npy -o model.json"
    check_operator(_is_quantized(file), "graph", "holds a network of floats", "one that is quantized", repair)
    return _quantized(file, data, profile, name)


def _quantized(file: File, data: bytes, profile: str | None, name: str) -> Import[Network]:
    source = f"onnx sha256={hashlib.sha256(data).hexdigest()}"  # not the profile: another may be put in its place
    return IntegerWalk(file, profile or PROFILE).network(name, source)


def _is_quantized(file: File) -> bool:
    """Whether any operator works on integers."""
    return any(
        node.op.startswith(("Q", "Dequantize", "DynamicQuantize")) or "Integer" in node.op for node in file.nodes
    )


def _read(path: str | Path, parse: Callable[[bytes, str], Read]) -> Read:
    data = read_bytes(path)
    try:
        return parse(data, printable(Path(path).stem))
    except IntnnError as error:
        raise error.within(str(path)) from None
