"""A campaign: construct inputs, ask the device, compare, shrink the first difference, locate it, name the fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from intnn import bounds
from intnn.conform import construct, diagnose, faults
from intnn.conform.device import RUN, Answers, Device, Failure, Int64, Question, questions
from intnn.conform.expected import answers
from intnn.conform.locate import locate
from intnn.conform.shrink import shrink, smallness
from intnn.conform.verdict import Diagnosis, Event, Explanation, Group, Mismatch, Report, Row
from intnn.formats import native
from intnn.model import Network

BATCH = 256
"""Rows asked at once."""

AGAIN = 16
"""Rows that are asked a second time, in reverse, to see whether a device answers as it did; and as many of a question's
rows that it answered wrong, for no line has a checksum [protocol.device]."""

LAYER_ROWS = 512
"""Inputs on which a device that offers it shows every layer."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """One question of a campaign put to many rows: ``rows`` (n, size) and the ``groups`` they belong to."""

    question: Question
    rows: Int64
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What came of a part: ``expected`` and ``got`` (n, outputs), which rows were ``answered``, and the number of the
    inference (from 1) that the first row was."""

    part: Part
    expected: Int64
    got: Int64
    answered: Bools
    begin: int

    @property
    def differs(self) -> Bools:
        """Which answers are wrong: (n,)."""
        return np.asarray(self.answered & (self.got != self.expected).any(axis=1))


def run(
    net: Network,
    device: Device,
    *,
    count: int = 4096,
    seed: int = 0,
    rows: Int64 | None = None,
    model: str = "",
    command: Callable[[Row | None], str] = lambda _: "",
    expected_failures: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Test ``device`` against the specification of ``net`` and say how it went.

    ``count`` is the number of constructed inputs, and at most that of questions about each layer alone; ``seed``
    and the network determine them; ``rows``, of
    shape (batch, inputs), are asked instead of them if given. ``model`` is the network's name in the report;
    ``command`` gives the command line that repeats the campaign, or that asks one input. Groups named in
    ``expected_failures`` do not decide the outcome. ``progress`` is told how many of how many inferences are done.

    Raises :class:`ModelError` ``model.overflow`` for a network that is not valid; nothing for what the device does.
    """
    bounds.require_valid(net)
    started = time.monotonic()
    parts, events = _plan(net, device, count, seed, rows)
    referee = _Referee(net, device, progress, sum(len(part.rows) for part in parts))
    results = [referee.ask(part) for part in parts]
    flaky = referee.ask_again(results)
    wrong = [result for result in results if result.differs.any()]
    mismatch = diagnosis = None
    if wrong and flaky is None:
        told = [result for result in wrong if result.part.question.operation != "layer"] or wrong
        diagnosis = referee.diagnose(told[-1], results)  # of inferences, if any of these is wrong
        mismatch = referee.smallest(wrong[0], diagnosis)  # of the most specific question
    heat, observed = referee.heat(results, diagnosis)
    return Report(
        model=model,
        sha256=native.network_hash(net),
        sizes=net.sizes,
        device=device.name,
        facts=dict(device.facts),
        operations=tuple(sorted(device.operations)),
        seed=seed,
        command=command(mismatch.x if mismatch and mismatch.operation == "run" else None),
        groups=_summary(results),
        events=events,
        mismatch=mismatch,
        diagnosis=diagnosis,
        failures=tuple(referee.failures),
        notes=tuple(referee.notes),
        flaky=flaky,
        heat=heat,
        heat_observed=observed,
        expected_failures=tuple(expected_failures),
        seconds=time.monotonic() - started,
    )


def _plan(
    net: Network, device: Device, count: int, seed: int, rows: Int64 | None
) -> tuple[list[Part], tuple[Event, ...]]:
    """What to ask, requantization first and whole inferences last, and the boundary events that the latter reach."""
    if rows is not None:
        return [Part(RUN, np.asarray(rows, np.int64), ("given",) * len(rows))], ()
    parts = []
    for question in questions(net, device.operations):
        recorded = device.rows(question)
        name = f"{question.operation} layer {question.layer}".replace("layer layer", "layer")
        if recorded is not None:
            group = "recorded" if question == RUN else f"{name} recorded"
            if len(recorded):
                parts.append(Part(question, recorded, (group,) * len(recorded)))
        elif question.operation == "requantize":
            accs = construct.accumulators(net, question.layer, question.neuron)[:, None]
            most = max(2, count // net.sizes[question.layer + 1])
            accs = accs[np.unique(np.linspace(0, len(accs) - 1, most).astype(np.intp))]
            parts.append(Part(question, accs, (name,) * len(accs)))
        elif question.operation == "dense":
            inputs = construct.layer_inputs(net, question.layer, max(1, count // len(net.layers)), seed)
            parts.append(Part(question, inputs, (name,) * len(inputs)))
        elif question.operation == "layer":
            inputs = construct.plan(net, count, seed).x[:LAYER_ROWS]
            parts.append(Part(question, inputs, (f"{name} outputs",) * len(inputs)))
        else:
            plan = construct.plan(net, count, seed)
            return [*parts, Part(RUN, plan.x, tuple(plan.groups))], tuple(plan.events)
    return parts, ()


def _summary(results: Sequence[Result]) -> tuple[Group, ...]:
    """The groups in the order in which they were first asked."""
    groups: dict[str, list[Group]] = {}
    for result in results:
        names = np.array(result.part.groups)
        for name in dict.fromkeys(result.part.groups):
            mine = names == name
            wrong = np.flatnonzero(mine & result.differs)
            first = result.begin + int(wrong[0]) if len(wrong) else None
            answered, operation = int((mine & result.answered).sum()), result.part.question.operation
            group = Group(name, int(mine.sum()), answered, len(wrong), first, operation)
            groups.setdefault(name, []).append(group)
    return tuple(
        Group(
            name,
            sum(group.inputs for group in same),
            sum(group.answered for group in same),
            sum(group.wrong for group in same),
            next((group.first_wrong for group in same if group.first_wrong is not None), None),
            same[0].operation,
        )
        for name, same in groups.items()
    )


class _Referee:
    """A device and what has been seen of it."""

    def __init__(self, net: Network, device: Device, progress: Callable[[int, int], None], planned: int) -> None:
        self.net, self.device, self.progress, self.planned = net, device, progress, planned
        self.asked = 0
        self.lives, self.gave_up = True, False  # gave up in two batches, without an answer in the second: dead for good
        self.failures: list[tuple[int, Row, Failure]] = []
        self.notes: list[tuple[int, Row, Failure]] = []

    def _ask(self, question: Question, rows: Int64) -> Answers:
        parts = [self.device.ask(question, rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
        return parts[0] if len(parts) == 1 else _joined(parts, question.size(self.net)[1])

    def ask(self, part: Part) -> Result:
        """Put a part's question to the device, in batches."""
        begin, done = self.asked + 1, []
        for at in range(0, len(part.rows), BATCH):
            rows = part.rows[at : at + BATCH]
            question = part.question
            answer = self.device.ask(question, rows) if self.lives else _unasked(question, self.net, len(rows))
            for where, kind in ((self.failures, answer.failures), (self.notes, answer.notes)):
                where.extend((begin + at + row, _row(rows[row]), kind[row]) for row in sorted(kind))
            gave_up = any(failure.kind == "unasked" for failure in answer.failures.values())
            self.lives = self.lives and not (gave_up and self.gave_up and not answer.answered.any())
            self.gave_up = gave_up
            done.append(answer)
            self.asked += len(rows)
            self.progress(self.asked, self.planned)
        joined = _joined(done, part.question.size(self.net)[1])
        expected = answers(self.net, part.question, part.rows)
        return Result(part, expected, joined.outputs, joined.answered, begin)

    def ask_again(self, results: Sequence[Result]) -> tuple[Row, Row, Row] | None:
        """An input with two different answers, if asking some a second time shows one: inputs, the first, the
        second. What goes wrong with a row then is noted."""
        for result in results:
            question = result.part.question
            if self.device.rows(question) is not None:
                continue
            some = np.flatnonzero(result.answered)[: AGAIN if question == RUN else 0]
            chosen = np.union1d(some, np.flatnonzero(result.differs)[:AGAIN])[::-1]
            if not len(chosen) or not self.lives:
                continue
            answer = self._ask(question, result.part.rows[chosen])
            for place, failure in sorted({**answer.notes, **answer.failures}.items(), reverse=True):
                if failure.kind != "skip":
                    at = int(chosen[place])
                    self.notes.append((result.begin + at, _row(result.part.rows[at]), failure))
            for row in np.flatnonzero(answer.answered & (answer.outputs != result.got[chosen]).any(axis=1)):
                first = result.got[chosen[row]]
                return _row(result.part.rows[chosen[row]]), _row(first), _row(answer.outputs[row])
        return None

    def _wrong(self, question: Question, rows: Int64) -> Bools:
        answer = self._ask(question, rows)
        return np.asarray(answer.answered & (answer.outputs != answers(self.net, question, rows)).any(axis=1))

    def smallest(self, result: Result, diagnosis: Diagnosis | None) -> Mismatch:
        """The smallest input on which the device differs from the specification, and where."""
        question = result.part.question
        wrong = np.flatnonzero(result.differs)
        first = int(wrong[0])
        source = self.net.inputs[question.layer if question.operation == "dense" else 0]
        zero = 0 if question.operation == "requantize" else min(max(source.zero_point, source.min), source.max)
        x = min((result.part.rows[row] for row in wrong), key=lambda row: smallness(row, zero))
        tries = 0
        if question.operation != "requantize" and self.device.rows(question) is None:
            x, tries = shrink(source, x, lambda rows: self._wrong(question, rows))
        answer = self._ask(question, x[None, :])
        got = answer.outputs[0]
        seen = bool(answer.answered[0]) and bool((got != answers(self.net, question, x[None, :])[0]).any())
        if not seen:
            x, got = result.part.rows[first], result.got[first]  # it does not answer the same again: what was seen
        return Mismatch(
            x=_row(x),
            expected=_row(answers(self.net, question, x[None, :])[0]),
            got=_row(got),
            first=_row(result.part.rows[first]),
            group=result.part.groups[first],
            inference=result.begin + first,
            shrinking=tries,
            operation=question.operation,
            layer=question.layer,
            neuron=question.neuron,
            location=locate(self.net, self.device, question, x, got, diagnosis) if seen else None,
        )

    def diagnose(self, result: Result, results: Sequence[Result]) -> Diagnosis | None:
        """Which faults explain the answers to inferences, to one layer alone, or to its requantization alone."""
        question = result.part.question
        if question.operation == "requantize":
            alike = (r for r in results if r.part.question[:2] == question[:2])
            asked = [(r.part.question.neuron, r.part.rows[r.answered, 0], r.got[r.answered, 0]) for r in alike]
            return diagnose.diagnose_requantization(self.net, question.layer, asked)
        if question.operation == "layer":
            return None
        layer = question.layer if question.operation == "dense" else None
        net = self.net if layer is None else Network(self.net.inputs[layer], (self.net.layers[layer],))

        def ask(rows: Int64) -> tuple[Int64, Bools]:
            answer = self._ask(question, rows)
            return answer.outputs, answer.answered

        rows, got = result.part.rows[result.answered], result.got[result.answered]
        more = 0 if self.device.rows(question) is not None else 256
        diagnosis = diagnose.diagnose(net, rows, got, ask, most_questions=more)
        if layer is None:
            return diagnosis
        return replace(diagnosis, explanations=tuple(_at(layer, e) for e in diagnosis.explanations))

    def heat(
        self, results: Sequence[Result], diagnosis: Diagnosis | None
    ) -> tuple[tuple[tuple[int, ...], ...], tuple[bool, ...]]:
        """On how many inputs each neuron's output differs, by layer, and for which layers the device showed it."""
        result = next((r for r in results if r.part.question == RUN and r.differs.any()), None)
        if result is None:
            return (), ()
        chosen = np.concatenate([np.flatnonzero(result.differs), np.flatnonzero(result.answered & ~result.differs)])
        chosen = chosen[:LAYER_ROWS] if "layer" in self.device.operations else chosen
        rows, last = result.part.rows[chosen], len(self.net.layers) - 1
        best = diagnosis.explanations[0] if diagnosis and diagnosis.explanations else None
        told = best is not None and best.complete and best.faults
        heat: list[tuple[int, ...]] = []
        observed = []
        for k in range(last + 1):
            right = answers(self.net, Question("layer", k), rows)
            if k == last:
                seen: Int64 | None = result.got[chosen]
                shown = np.ones(len(rows), np.bool_)
            elif "layer" in self.device.operations and self.device.rows(Question("layer", k)) is None:
                answer = self._ask(Question("layer", k), rows)
                seen, shown = (answer.outputs, answer.answered) if answer.answered.any() else (None, answer.answered)
            else:
                seen, shown = None, np.zeros(len(rows), np.bool_)
            observed.append(seen is not None)
            if seen is None and told and best is not None:
                seen = faults.trace(self.net, [faults.parse(self.net, name) for name in best.faults], rows)[k][1]
                shown = np.ones(len(rows), np.bool_)
            counts = () if seen is None else tuple(int(n) for n in ((seen != right) & shown[:, None]).sum(axis=0))
            heat.append(counts)
        return tuple(heat), tuple(observed)


def _unasked(question: Question, net: Network, count: int) -> Answers:
    outputs = np.zeros((count, question.size(net)[1]), np.int64)
    return Answers(outputs, {row: Failure("unasked", "") for row in range(count)})


def _joined(parts: Sequence[Answers], outputs: int) -> Answers:
    whole = Answers(np.concatenate([np.zeros((0, outputs), np.int64), *(part.outputs for part in parts)]))
    at = 0
    for part in parts:
        whole.failures.update({at + row: failure for row, failure in part.failures.items()})
        whole.notes.update({at + row: failure for row, failure in part.notes.items()})
        at += len(part.outputs)
    return whole


def _row(values: Int64) -> Row:
    return tuple(int(v) for v in values)


def _at(layer: int, explanation: Explanation) -> Explanation:
    """An explanation of a layer alone as one of that layer of the network."""
    return replace(
        explanation,
        faults=tuple(name.replace("@0", f"@{layer}") for name in explanation.faults),
        text=explanation.text.replace("layer 0", f"layer {layer}"),
        layer=layer,
    )
