"""The outcome of a campaign, as data: everything a report says and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from intnn.conform.device import Failure

Row = tuple[int, ...]


@dataclass(frozen=True)
class Location:
    """Where on the smallest input the device first differs: ``layer``, ``neuron`` and ``stage``.

    ``stage`` is ``input``, ``accumulate``, ``requantize``, ``clamp`` or ``unknown``; ``observed`` says whether the
    device showed it, or it is inferred from the best explanation. ``acc`` is the right accumulator of the neuron,
    ``rule`` its requantization in words with multiplier and shift, ``expected`` its right output and ``got`` the
    device's (``None`` where it did not show it).
    """

    layer: int
    neuron: int
    stage: str
    observed: bool
    acc: int
    rule: str
    expected: int
    got: int | None


@dataclass(frozen=True)
class Mismatch:
    """A difference: on the smallest input found, ``x``, the device gives ``got`` where ``expected`` is right.

    ``operation``, ``layer`` and ``neuron`` say what it was asked (see :mod:`intnn.conform.device`). ``first`` is the
    input on which it first differed, inference number ``inference`` (from 1) of the campaign, in ``group``;
    ``shrinking`` is how many more inferences it took to find ``x``.
    """

    x: Row
    expected: Row
    got: Row
    first: Row
    group: str
    inference: int
    shrinking: int
    operation: str = "run"
    layer: int = 0
    neuron: int = 0
    location: Location | None = None


@dataclass(frozen=True)
class Explanation:
    """A hypothesis: with the ``faults`` (ids of :mod:`intnn.conform.faults`; none: the specification) a device gives
    just what this one gave on ``matched`` of ``of`` inputs. ``text`` says it in words, ``stage`` and ``layer`` where
    it is (``layer`` is ``None`` for every layer). ``same``: it is proved to be the same function of the input as the
    first."""

    faults: tuple[str, ...]
    text: str
    matched: int
    of: int
    layer: int | None
    stage: str
    same: bool = False

    @property
    def complete(self) -> bool:
        """Whether it explains all inputs."""
        return self.matched == self.of


@dataclass(frozen=True)
class Diagnosis:
    """``explanations``, the best first; ``tied`` is how many of them, from the first, explain everything and could
    not be told apart on any input tried; ``questions`` is how many inferences were made to separate hypotheses;
    ``tried`` how many hypotheses there were."""

    explanations: tuple[Explanation, ...]
    tied: int
    questions: int
    tried: int


@dataclass(frozen=True)
class Event:
    """A boundary event of a neuron, such as an accumulator just below a step: how often the plan's inputs ``reached``
    it, how often so that the network's output shows it (``shown``), and whether it is provably ``unreachable``."""

    name: str
    layer: int
    neuron: int
    reached: int
    shown: int
    unreachable: bool


@dataclass(frozen=True)
class Group:
    """The inputs of one kind, a test case with a permanent ``name``: how many there are, how many were ``answered``,
    how many of the answers to ``operation`` were ``wrong``, and the number of the ``first_wrong`` inference (from
    1)."""

    name: str
    inputs: int
    answered: int
    wrong: int
    first_wrong: int | None = None
    operation: str = "run"

    @property
    def passed(self) -> bool:
        """Whether all inputs were answered, and right."""
        return self.answered == self.inputs and not self.wrong


@dataclass(frozen=True)
class Report:
    """A campaign. ``command`` reproduces it. ``failures`` are (inference from 1, input, failure), in order; ``notes``
    the same for answers that broke the protocol. ``heat`` counts per layer and neuron on how many inputs the device's
    output differs; ``heat_observed`` says per layer whether the device showed it, or it follows from the best
    explanation (rows of ``heat`` are empty for layers of which nothing is known). ``expected_failures`` are names of
    groups."""

    model: str
    sha256: str
    sizes: tuple[int, ...]
    device: str
    facts: dict[str, str]
    operations: tuple[str, ...]
    seed: int
    command: str
    groups: tuple[Group, ...]
    events: tuple[Event, ...]
    mismatch: Mismatch | None = None
    diagnosis: Diagnosis | None = None
    failures: tuple[tuple[int, Row, Failure], ...] = ()
    notes: tuple[tuple[int, Row, Failure], ...] = ()
    flaky: tuple[Row, Row, Row] | None = None
    """An input to which the device gave two different answers: the input and both."""
    heat: tuple[tuple[int, ...], ...] = ()
    heat_observed: tuple[bool, ...] = ()
    expected_failures: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def unexpected(self) -> tuple[Group, ...]:
        """Groups with wrong answers that are not expected to fail."""
        return tuple(g for g in self.groups if g.wrong and g.name not in self.expected_failures)

    @property
    def unexpected_passes(self) -> tuple[str, ...]:
        """Groups that are expected to fail and pass."""
        return tuple(g.name for g in self.groups if g.passed and g.name in self.expected_failures)

    @property
    def judged(self) -> bool:
        """Whether anything was answered: an inference, where inferences were asked."""
        return any(group.answered for group in self.inferences or self.groups)

    @property
    def inferences(self) -> tuple[Group, ...]:
        """The groups of whole inferences."""
        return tuple(group for group in self.groups if group.operation == "run")

    @property
    def outcome(self) -> str:
        """``died`` where the device contradicts itself, so that nothing follows from its answers; else ``mismatch``
        where an answer is wrong that is not expected to be; else ``died`` where questions stayed without an answer,
        answers broke the protocol, or nothing was answered; else ``pass``. That a device declines questions about its
        layers alone is no fault of it; that it declines an inference is."""
        if self.unexpected and not self.flaky:
            return "mismatch"
        lost = [failure for _, _, failure in (*self.failures, *self.notes) if failure.kind != "skip"]
        whole = all(group.answered == group.inputs for group in self.inferences)
        return "pass" if self.judged and whole and not lost and not self.flaky else "died"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 mismatch, 3 died."""
        return {"pass": 0, "mismatch": 1, "died": 3}[self.outcome]
