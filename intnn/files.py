"""The files that the command line is given: what is read, what is written, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intnn import profiles
from intnn.errors import FileError, IntnnError, ModelError, UsageError
from intnn.floats.network import FloatNetwork
from intnn.formats import native, tflite
from intnn.formats.flatbuffer import is_tflite
from intnn.formats.report import Import
from intnn.formats.script import made_by, named
from intnn.model import IntArray, Network


def read_model(path: str, profile: str | None) -> Network:
    """The network of a model file, a TFLite file or an ONNX file, not proved yet, under ``profile`` if one is given."""
    if path.endswith(".onnx"):
        return read_import(path, profile).network
    data = native.read_bytes(path)
    if is_tflite(data):
        if profile is None:
            raise _no_profile(path)
        return tflite.import_tflite(path, profile=profile)
    net = native.read(data, where=path)
    try:
        return net if profile is None else profiles.with_profile(net, profile)
    except ModelError as error:
        raise error.within(path) from None


def read_floats(path: str, activations: Sequence[str] | None = None) -> Import[FloatNetwork]:
    """The network of floats in ``path``, and how each field came about.

    ``path`` is a .onnx, .npz, .json or .safetensors file, or FILE.py:NAME; ``activations`` says which activation each
    layer has, where the file does not.
    """
    if path.endswith(".onnx"):
        from intnn.formats import onnx  # here, because few need it

        if activations is not None:
            raise UsageError("usage.option", "an ONNX file says which activations it has", where=path)
        return onnx.read_float(path)
    from intnn.formats import weights

    return weights.read_weights(path, activations=activations)


def read_import(path: str, profile: str | None) -> Import[Network]:
    """The network of a quantized TFLite or ONNX file, and how each field came about."""
    if path.endswith(".onnx"):
        from intnn.formats import onnx

        return onnx.read_quantized(path, profile=profile)
    if profile is None:
        raise _no_profile(path)
    return tflite.read_tflite(path, profile=profile)


def _no_profile(path: str) -> UsageError:
    return UsageError(
        "usage.option",
        "a TFLite file does not say how to round",
        where=path,
        expected="--profile with one of " + ", ".join(profiles.PROFILES),
    )


def require_other_file(output: str | None, *inputs: str) -> None:
    """Writing over a file that is being read would lose it. Of FILE.py:NAME the file is meant."""
    for place in inputs:
        path = (named(place) or (place, ""))[0]
        if output and Path(output).exists() and Path(path).exists() and Path(output).samefile(path):
            raise UsageError("usage.option", "is also the input", where=output, expected="another file for the output")


def require_outputs(outputs: Sequence[str | None], *inputs: str) -> None:
    """Before the work: that ``outputs`` are no inputs, that no two are the same, and that their folders are there.

    Raises :class:`UsageError` ``usage.option``, :class:`FileError` ``file.write``.
    """
    seen: set[Path] = set()
    for output in filter(None, outputs):
        require_other_file(output, *inputs)
        path = Path(output).resolve()
        if path in seen:
            raise UsageError("usage.option", "is the output twice", where=output, expected="a file for each output")
        seen.add(path)
        if path.is_dir() or not path.parent.is_dir():
            found = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise FileError("file.write", found, where=output, expected="a file in a folder that is there")


def read_array(path: str) -> IntArray:
    """The array of a .npy file, mapped and not read, so that a header cannot claim memory the file does not fill; or
    the array that FILE.py:NAME names."""
    if script := named(path):
        try:
            made = np.asarray(made_by(*script))
        except IntnnError as error:
            raise error.within(path) from None
        except Exception as error:  # of the object's own making, or ragged
            raise FileError("file.array", f"{type(error).__name__}: {error}"[:200], where=path) from None
        return _numbers(made, path)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged headers, which are refused here
            if file.read(6) == b"\x93NUMPY":  # nothing else reaches numpy.load, which would also read zip and pickle
                return _numbers(np.load(path, mmap_mode="r", allow_pickle=False), path)
    except OSError as error:
        raise FileError("file.read", f"cannot be read: {error.strerror or error}", where=path) from None
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        pass  # what numpy raises for a damaged header
    raise FileError("file.array", "not a .npy file", where=path, expected="numpy.save of an array of numbers")


def _numbers(array: IntArray, path: str) -> IntArray:
    if array.dtype.kind in "biuf" or not array.size:
        return array
    raise FileError(
        "file.array",
        f"of type {array.dtype}",
        where=path,
        expected="an array of real numbers",
        repair="labels as integers: numpy.unique(labels, return_inverse=True)[1]" if array.dtype.kind in "UO" else "",
    )


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
