"""The state of a training in a file, from which it goes on as if it had never stopped.

An .npz file of plain arrays (nothing is unpickled), replaced as a whole, with a fingerprint of data and options, and a
digest of all that is in it: the state of another training is refused, and so is one that is not as it was written.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from intnn.errors import FileError, ForeignModelError, UsageError
from intnn.formats.native import read_bytes
from intnn.formats.npz import read_npz, write_npz

Array = npt.NDArray[Any]

FINGERPRINT, DIGEST = "fingerprint", "digest"


class State(NamedTuple):
    """Where a phase stands: after ``step`` steps, ``params`` float32 and the ``optimizer``'s arrays; ``best``
    parameters, with the validation loss ``least``, ``stale`` validations ago; ``history`` float64 (validations, 3):
    step, loss, validation."""

    step: int
    params: Array
    optimizer: tuple[Array, ...]
    best: Array
    least: float
    stale: int
    history: Array


class Checkpoint:
    """The file ``path`` (None: no file) of the training with this ``fingerprint``, holding a :class:`State` for each
    phase.

    Raises :class:`UsageError` ``train.state`` for the state of another training, :class:`FileError` ``file.read``,
    ``file.syntax`` or ``file.write``, :class:`ForeignModelError` ``weights.layer`` for a pickle.
    """

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.phases: dict[str, State] = {}
        if path is not None and path.exists():
            self.phases = self._read(path)

    def keep(self, phase: str, state: State) -> None:
        """Write the file, with ``state`` as that of ``phase``."""
        self.phases[phase] = state
        if self.path is None:
            return
        arrays = {FINGERPRINT: np.frombuffer(self.fingerprint.encode(), np.uint8)}
        for name, kept in self.phases.items():
            values = kept._asdict()
            values |= {f"optimizer.{i}": part for i, part in enumerate(values.pop("optimizer"))}
            arrays |= {f"{name}.{field}": np.asarray(value) for field, value in values.items()}
        arrays[DIGEST] = digest(arrays)
        beside = self.path.with_name(self.path.name + ".part")
        try:
            beside.write_bytes(write_npz(arrays))
            os.replace(beside, self.path)
        except OSError as error:
            raise FileError("file.write", f"cannot be written: {error.strerror}", where=str(self.path)) from None

    def _read(self, path: Path) -> dict[str, State]:
        repair = "give the same data and options as before, or another file to begin anew"
        try:
            arrays = read_npz(read_bytes(str(path)))
        except (FileError, ForeignModelError) as error:
            error.expected, error.repair = "the state of this training", repair
            raise error.within(str(path)) if error.code != "file.read" else error from None
        found = arrays.get(FINGERPRINT)
        if found is None or found.tobytes() != self.fingerprint.encode():
            raise UsageError(
                "train.state",
                "not the state of a training"
                if found is None
                else "the state of a training with other data or options",
                where=str(path),
                expected="the state of this one",
                repair=repair,
            )
        if DIGEST not in arrays or not np.array_equal(arrays[DIGEST], digest(arrays)):
            raise UsageError(
                "train.state",
                "not as it was written",
                where=str(path),
                expected="a file whose content has the digest it carries",
                repair="another copy of it, or another file to begin anew",
            )
        return {name: _state(arrays, name + ".") for name in ("float", "integer") if f"{name}.step" in arrays}


def digest(arrays: dict[str, Array]) -> Array:
    """SHA-256 of all ``arrays`` but the digest itself: names, types, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(arrays.keys() - {DIGEST}):
        array = np.ascontiguousarray(arrays[name])
        found.update(repr((name, array.dtype.str, arrays[name].shape)).encode() + array.tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def _state(arrays: dict[str, Array], prefix: str) -> State:
    parts = sum(key.startswith(f"{prefix}optimizer.") for key in arrays)
    return State(
        step=int(arrays[f"{prefix}step"]),
        params=arrays[f"{prefix}params"],
        optimizer=tuple(arrays[f"{prefix}optimizer.{i}"] for i in range(parts)),
        best=arrays[f"{prefix}best"],
        least=float(arrays[f"{prefix}least"]),
        stale=int(arrays[f"{prefix}stale"]),
        history=arrays[f"{prefix}history"],
    )


def fingerprint(*parts: object) -> str:
    """SHA-256 of what decides a training."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
