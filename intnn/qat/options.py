"""What a training is asked to do, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from intnn.errors import ModelError, UsageError
from intnn.floats.scheme import Scheme

LANE = 65535
"""What 16-bit lanes hold: the bound on sum|w| * max|x - zero_point| of a row."""


class Progress(NamedTuple):
    """Where a training is: ``phase`` is ``float`` or ``integer``, ``step`` of ``steps`` are done; ``loss`` is the mean
    over the latest steps, ``validation`` the loss on the rows held back, ``best`` the least of those so far."""

    phase: str
    step: int
    steps: int
    loss: float
    validation: float
    best: float


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Options:
    """The options of :func:`intnn.qat.train`, which explains them. Raises :class:`UsageError` ``usage.option``."""

    scheme: Scheme = Scheme()  # noqa: RUF009  # frozen
    seed: int = 0
    float_steps: int = 20_000
    qat_steps: int = 6_000
    batch: int = 1024
    learning_rate: float = 1e-2
    qat_learning_rate: float = 5e-3
    every: int = 250
    validation: float = 0.1
    patience: int | None = None
    input_range: tuple[int, int] | None = None
    lanes: bool = False

    def __post_init__(self) -> None:
        least = {"seed": 0, "float_steps": 0, "qat_steps": 0, "batch": 1, "every": 1, "patience": 1}
        for field in fields(self):
            value = getattr(self, field.name)
            counts = field.name in least and not (field.name == "patience" and value is None)
            if counts and (not isinstance(value, int) or isinstance(value, bool) or value < least[field.name]):
                raise _wrong(field.name, value, f"an integer, at least {least[field.name]}")
            if field.name.endswith("learning_rate") and not 0 < value < 1:
                raise _wrong(field.name, value, "a number in (0, 1)")
        if self.lanes and "int16" in (self.scheme.activations, self.scheme.input):
            expected = (
                "int8 or uint8 vectors: beside one int16 value a 16-bit lane has room for weights of 0 and 1 only"
            )
            raise UsageError("usage.option", "lanes with int16 activations", expected=expected)
        if not 0 < self.validation < 1:
            raise _wrong("validation", self.validation, "the part of the rows that is held back, in (0, 1)")


def sizes_of(sizes: Any) -> tuple[int, ...]:
    """``sizes`` as a tuple: input count, then each layer's output count. Raises :class:`UsageError`
    ``usage.option``."""
    given = sizes
    if isinstance(sizes, str):
        sizes = [int(part) if part.isdecimal() else part for part in sizes.split("-")]
    whole = isinstance(sizes, tuple | list) and all(type(size) is int and size > 0 for size in sizes)
    if not whole or len(sizes) < 2:
        raise _wrong("sizes", given, "input count, then each layer's output count, such as 6-32-32-6")
    return tuple(sizes)


def state_path(state: str | Path | None) -> Path | None:
    """The file that keeps the state; raises :class:`UsageError` ``usage.option`` where its name does not end in
    .npz."""
    path = None if state is None else Path(state)
    if path is not None and path.suffix != ".npz":
        raise _wrong("state", str(path), "a file name that ends in .npz")
    return path


def diverged(found: str) -> ModelError:
    """The error of a training that has come to nothing."""
    repair = "a smaller learning rate, or data without outliers"
    return ModelError("train.diverged", found, expected="finite losses and parameters", repair=repair)


def _wrong(name: str, value: object, expected: str) -> UsageError:
    return UsageError("usage.option", f"{name} is {value!r}", expected=expected)
