"""The ONNX import without the package onnx; with it, tests/frameworks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from intnn.errors import FileError, UsageError
from intnn.formats import onnx


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    for read in (onnx.read_onnx, onnx.read_float, onnx.read_quantized):
        with pytest.raises(UsageError) as caught:
            read(path)
        assert caught.value.code == "usage.extra"
        assert caught.value.repair == "pip install 'intnn[onnx]'"


def test_the_profile_is_checked_first() -> None:
    with pytest.raises(UsageError) as caught:
        onnx.parse_onnx(b"", profile="nearest")
    assert caught.value.code == "usage.profile"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        onnx.read_onnx(tmp_path / "model.onnx")
    assert caught.value.code == "file.read"
