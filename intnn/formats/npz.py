"""Arrays in .npz files, read without `numpy.load`: nothing is unpickled, and no header claims memory that is not there.

What is written has fixed time stamps, so that the same arrays give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.errors import FileError
from intnn.formats.native import MAX_BYTES
from intnn.formats.steps import unsupported

Array = npt.NDArray[Any]

_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z]\d*)', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18},)?|\d{1,18}(?:, \d{1,18}){1,7})\), \}\s*"
)
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
)
"""What zipfile raises for damaged, encrypted or unknown contents, and NumPy for unknown types."""

_PICKLES = "in Python: intnn.quantize(model, x) with the model or its arrays; or numpy.savez of arrays of floats"


def read_npz(data: bytes) -> dict[str, Array]:
    """The arrays by name, in the order of the file.

    Raises :class:`FileError` ``file.syntax``; :class:`ForeignModelError` ``weights.layer`` for pickled objects.
    """
    arrays: dict[str, Array] = {}
    room = MAX_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if entry.filename.endswith((".pkl", ".pickle")):
                    raise unsupported(entry.filename[:60], "a pickle, which is never read", "arrays", _PICKLES)
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others claim memory at will
                    raise ValueError(f"{name[:60]} is compressed by method {entry.compress_type}")
                with archive.open(entry) as file:
                    content = file.read(room + 1)
                room -= len(content)
                if room < 0:
                    found = "more than it may hold when unpacked"
                    raise FileError("file.syntax", found, where=name[:60], expected=f"{MAX_BYTES} bytes in all")
                if name in arrays:
                    raise FileError("file.syntax", "stands twice", where=name[:60], expected="each array once")
                arrays[name] = _array(content, name)
    except _DAMAGED as error:
        found = f"not a readable .npz file: {str(error)[:100]}"
        raise FileError("file.syntax", found, expected="numpy.savez of weights and biases") from None
    return arrays


def _array(content: bytes, name: str) -> Array:
    """The array of a .npy file, a view of it."""
    start = {b"\x93NUMPY\x01": 10, b"\x93NUMPY\x02": 12, b"\x93NUMPY\x03": 12}.get(content[:7])
    if start is None or len(content) < start:
        raise FileError("file.syntax", "not in NumPy's .npy format", where=name[:60], expected="numpy.savez of arrays")
    end = start + int.from_bytes(content[8:start], "little")
    header = _HEADER.fullmatch(content[start:end].decode("latin-1")) if end <= min(len(content), 10000) else None
    if header is None:
        found = f"header {content[start : start + 60]!r}"
        raise FileError("file.syntax", found, where=name[:60], expected="a plain array of floats")
    type_, shape = header[1], tuple(int(n) for n in re.findall(r"\d+", header[3]))
    if "O" in type_:
        raise unsupported(name[:60], "Python objects, which are pickled and never read", "arrays of floats", _PICKLES)
    dtype = np.dtype(type_)
    size = math.prod(shape) * dtype.itemsize
    if size != len(content) - end or dtype.itemsize == 0 or 0 in shape:
        found = f"{len(content) - end} bytes of values for {dtype} {list(shape)[:9]}"
        raise FileError("file.syntax", found, where=name[:60], expected=f"{size}, and more than 0")
    return np.ndarray(shape, dtype, memoryview(content)[end:], order="F" if header[2] == "True" else "C")


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of an .npz file with ``arrays``, the same every time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # or it would depend on the operating system
            archive.writestr(entry, content.getvalue())
    return file.getvalue()
