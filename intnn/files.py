"""The files that the command line is given: what is read, what is written, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from intnn import profiles
from intnn.errors import FileError, ModelError, UsageError
from intnn.formats import native, tflite
from intnn.formats.flatbuffer import is_tflite
from intnn.model import IntArray, Network


def read_model(path: str, profile: str | None) -> Network:
    """The network of a model file or a TFLite file, not proved yet, under ``profile`` if one is given."""
    data = native.read_bytes(path)
    if is_tflite(data):
        if profile is None:
            raise UsageError(
                "usage.option",
                "a TFLite file does not say how to round",
                where=path,
                expected="--profile with one of " + ", ".join(profiles.PROFILES),
            )
        return tflite.import_tflite(path, profile=profile)
    net = native.read(data, where=path)
    try:
        return net if profile is None else profiles.with_profile(net, profile)
    except ModelError as error:
        raise error.within(path) from None


def require_other_file(output: str | None, *inputs: str) -> None:
    """Writing over a file that is being read would lose it."""
    for path in inputs:
        if output and Path(output).exists() and Path(path).exists() and Path(output).samefile(path):
            raise UsageError("usage.option", "is also the input", where=output, expected="another file for the output")


def read_array(path: str) -> IntArray:
    """The array of a .npy file, mapped and not read, so that a header cannot claim memory the file does not fill."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged headers, which are refused here
            if file.read(6) == b"\x93NUMPY":  # nothing else reaches numpy.load, which would also read zip and pickle
                array: IntArray = np.load(path, mmap_mode="r", allow_pickle=False)
                return array
    except OSError as error:
        raise FileError("file.read", f"cannot be read: {error.strerror or error}", where=path) from None
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        pass  # what numpy raises for a damaged header
    raise FileError("file.array", "not a .npy file", where=path, expected="numpy.save of an array of integers")


def folder(path: str) -> Path:
    """The folder ``path``, made if it is not there."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError("file.write", f"cannot be made: {error.strerror}", where=path) from None
    return Path(path)


def write(path: str, save: Any) -> None:
    """Open ``path`` for writing bytes and let ``save`` do it."""
    try:
        with open(path, "wb") as file:
            save(file)
    except OSError as error:
        raise FileError("file.write", f"cannot be written: {error.strerror}", where=path) from None
