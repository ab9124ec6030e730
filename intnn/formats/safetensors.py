"""Arrays in .safetensors files: 8 bytes of length, a header in JSON, little-endian values.

Every length and offset is checked before it is used, and arrays are views of the file: a size that is a lie allocates
nothing. https://github.com/huggingface/safetensors says what a valid file is; what it forbids is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.errors import FileError, IntnnError
from intnn.formats.native import parse
from intnn.formats.steps import unsupported

_TYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "I64": "<i8"}
_FLOATS = "F16, BF16, F32 or F64"


def read_safetensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays by name, in the order of the header; bfloat16 widened to float32, which holds it exactly.

    Raises :class:`FileError` ``file.syntax`` or ``file.field``; :class:`ForeignModelError` ``weights.layer`` for other
    types than float16, bfloat16, float32, float64.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        found = f"a header of {size} bytes in a file of {len(data)}"
        raise FileError("file.syntax", found, expected="a .safetensors file, complete")
    try:
        header = parse(data[8 : 8 + size])
    except IntnnError as error:
        raise error.within("header") from None
    header.pop("__metadata__", None)
    values = memoryview(data)[8 + size :]
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, begin, finish) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise _field(name, f"data_offsets begin at {begin}", f"{end}, right after the array before")
        end = finish
    if end != len(values):
        raise FileError("file.field", f"{len(values)} bytes of values", expected=f"{end}, as the header says")
    return {name: _array(values[begin:finish], type_, shape) for name, (type_, shape, begin, finish) in entries.items()}


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape and place of an array, consistent with each other."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _field(name, "other members", "dtype, shape, data_offsets")
    type_, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    for what, value in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
            raise _field(name, f"{what} is not an array of sizes", "integers of 0 or more")
    if (
        not isinstance(type_, str)
        or type_ not in _TYPES
        or (type_ == "I64" and not name.endswith("num_batches_tracked"))
    ):
        raise unsupported(_shown(name), f"of type {_shown(type_)}", _FLOATS, "save the weights as floats")
    if len(offsets) != 2 or len(shape) > 8 or 0 in shape:
        found = f"{len(offsets)} data_offsets, shape {shape[:9]}"
        raise _field(name, found, "begin and end; at most 8 dimensions, none of them 0")
    size = math.prod(shape) * np.dtype(_TYPES[type_]).itemsize
    if offsets[1] - offsets[0] != size:
        raise _field(name, f"data_offsets {offsets}", f"{size} bytes for {type_} {shape}")
    return type_, tuple(shape), offsets[0], offsets[1]


def _array(values: memoryview, type_: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array = np.ndarray(shape, _TYPES[type_], values)
    return (array.astype("<u4") << 16).view("<f4") if type_ == "BF16" else array


def _shown(value: Any) -> str:
    return str(value)[:60]


def _field(name: str, found: str, expected: str) -> FileError:
    return FileError("file.field", found, where=_shown(name), expected=expected)
