"""What a device under test is to the referee: something that is asked rows of integers and answers rows of integers.

A device never compares anything. It may do any of four operations; the referee uses what it offers:

- ``run``: one inference; a row is the network's input, the answer its output [network.run];
- ``layer``: the outputs of layer ``layer`` during an inference; a row is the network's input;
- ``dense``: layer ``layer`` alone; a row is that layer's input [dense.output];
- ``requantize``: an accumulator of neuron ``neuron`` of layer ``layer`` alone; a row is one accumulator, the answer
  one output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from intnn.model import Network

Int64 = npt.NDArray[np.int64]

OPERATIONS = ("run", "layer", "dense", "requantize")

FAILURES = {
    "crash": "it died",
    "hang": "it gave no answer in time",
    "closed": "it closed the connection",
    "garbage": "what it said is no answer",
    "late": "it answered after its time was up",
    "twice": "it answered twice",
    "error": "it answered with an error",
    "skip": "it declined to answer",
    "trap": "C gives this input no meaning",
    "unasked": "it was not asked: the device had died too often before",
}
"""The kinds of :class:`Failure`, and what each means."""


class Failure(NamedTuple):
    """What went wrong with one question: ``kind`` is one of :data:`FAILURES`, ``message`` says what was seen."""

    kind: str
    message: str

    def __str__(self) -> str:
        return f"{FAILURES[self.kind]}: {self.message}" if self.message else FAILURES[self.kind]


class Question(NamedTuple):
    """What a device is asked to do with each row: one of :data:`OPERATIONS`, its ``layer`` but for ``run``, and its
    ``neuron`` for ``requantize``."""

    operation: str = "run"
    layer: int = 0
    neuron: int = 0

    def size(self, net: Network) -> tuple[int, int]:
        """How many integers a row has, and how many its answer."""
        match self.operation:
            case "run":
                return net.sizes[0], net.sizes[-1]
            case "layer":
                return net.sizes[0], net.sizes[self.layer + 1]
            case "dense":
                return net.sizes[self.layer], net.sizes[self.layer + 1]
            case _:
                return 1, 1


RUN = Question()


def questions(net: Network, operations: Collection[str]) -> list[Question]:
    """Every question that ``operations`` allow about ``net``, the most specific first: requantize, dense, layer,
    run."""
    layers = range(len(net.layers))
    every = [Question("requantize", k, j) for k in layers for j in range(net.sizes[k + 1])]
    every += [Question(operation, k) for operation in ("dense", "layer") for k in layers]
    return [question for question in (*every, RUN) if question.operation in operations]


@dataclass
class Answers:
    """What came back for a batch.

    ``outputs`` is int64 (batch, n); rows in ``failures`` have no answer, and their outputs are 0. ``notes`` holds rows
    that were answered, but not as they should have been (late, twice).
    """

    outputs: Int64
    failures: dict[int, Failure] = field(default_factory=dict)
    notes: dict[int, Failure] = field(default_factory=dict)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which rows have an answer: (batch,)."""
        answered = np.ones(len(self.outputs), np.bool_)
        answered[list(self.failures)] = False
        return answered


class Device(ABC):
    """A device under test: ``name`` as a report speaks of it, and the ``operations`` it offers.

    It is closed after use (``with``). Construction raises :class:`intnn.errors.UsageError` where there is no such
    device, or none that can be started.
    """

    name: str
    operations: frozenset[str] = frozenset({"run"})
    facts: dict[str, str]
    """What is known of the device and worth printing: its compiler, cycles of an inference, a model hash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts = {}

    @abstractmethod
    def ask(self, question: Question, rows: Int64) -> Answers:
        """The answers to ``rows``, (batch, n) with n of :meth:`Question.size`.

        A device that dies is started anew if that is possible, and the rows that follow are asked. Never raises for
        what the device does; never waits without end. ``question.operation`` is one of :attr:`operations`.
        """

    def rows(self, question: Question) -> Int64 | None:
        """The only rows (n, size) that it can answer, as a recording; ``None``: any."""
        return None

    def close(self) -> None:  # noqa: B027  # most devices have nothing to let go of
        """Let go of processes, ports and files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
