"""What all reports say in the same words: the headline, the place, the diagnosis, the coverage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from intnn.conform.device import FAILURES, Failure
from intnn.conform.verdict import Diagnosis, Event, Explanation, Group, Location, Mismatch, Report, Row


def printable(text: str) -> str:
    """``text`` from a file or a device, on one line: what cannot be printed, and a lone surrogate, as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def count(number: int, noun: str) -> str:
    """``4,096 inferences``, ``1 inference``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(part: int, whole: int) -> str:
    """``97.2 %``, rounded down, so that only all of it is ``100 %``."""
    tenths = 1000 * part // whole if whole else 1000
    return f"{tenths // 10}.{tenths % 10} %" if tenths < 1000 else "100 %"


def vector(row: Sequence[int], most: int = 12) -> str:
    """A row: all of it if it is short, else at most ``most`` runs, equal neighbours counted: ``[127 x 30, -128]``."""
    if len(row) <= 16:
        return f"[{', '.join(map(str, row))}]"
    runs: list[list[int]] = []
    for v in row:
        if runs and runs[-1][0] == v:
            runs[-1][1] += 1
        else:
            runs.append([v, 1])
    shown = [f"{v} x {n}" if n > 1 else str(v) for v, n in runs[:most]]
    left = sum(n for _, n in runs[most:])
    return "[" + ", ".join(shown) + (f", ... {left} more" if left else "") + "]"


# --- the outcome ---------------------------------------------------------------------------------------------------


def inferences(report: Report) -> int:
    """How many questions the campaign's groups put."""
    return sum(group.inputs for group in report.groups)


def word(report: Report) -> str:
    """The outcome in a word or two."""
    if report.outcome != "died":
        return report.outcome.upper()
    if report.flaky is not None:
        return "CONTRADICTS ITSELF"
    if not report.judged:
        return "NO ANSWER"
    if any(failure.kind != "skip" for _, _, failure in report.failures):
        return "DIED"
    return "PROTOCOL BROKEN" if report.notes else "INCOMPLETE"


def asked_of(report: Report) -> str:
    """``4,096 inferences``, with the questions about layers alone where there were any."""
    whole = sum(group.inputs for group in report.inferences)
    alone = inferences(report) - whole
    parts = [count(whole, "inference")] if whole or not alone else []
    return " and ".join([*parts, *([count(alone, "question") + " about layers"] if alone else [])])


def headline(report: Report) -> str:
    """What came of the campaign, in one sentence without its :func:`word`."""
    device, model = printable(report.device), printable(report.model)
    asked = asked_of(report)
    wrong = sum(group.wrong for group in report.groups)
    if report.outcome == "mismatch":
        return f"{device} differs from {model} on {wrong:,} of {asked}"
    unanswered = inferences(report) - sum(group.answered for group in report.groups)
    right = f"gives the outputs of {model}"
    match word(report):
        case "CONTRADICTS ITSELF":
            return f"{device} gave two different answers to the same input of {model}"
        case "NO ANSWER" if any(group.answered for group in report.groups):
            return f"{device} answered no inference of {model}, only questions about its layers alone"
        case "NO ANSWER":
            return f"{device} answered none of {asked} of {model}"
        case "DIED" | "INCOMPLETE":
            rest = "the answers it gave are right" if not wrong else f"{wrong:,} wrong answers were expected"
            return f"{device} left {unanswered:,} of {asked} of {model} without an answer; {rest}"
        case "PROTOCOL BROKEN":
            return f"{device} {right}, but broke the protocol on {len(report.notes):,} of {asked}"
    if wrong:
        return f"{device} differs from {model} on {wrong:,} of {asked}, all in groups that are expected to fail"
    if unanswered:
        return f"{device} {right} on all {inferences(report) - unanswered:,} of {asked} that it did not decline"
    return f"{device} {right} on all {asked}"


# --- a mismatch ----------------------------------------------------------------------------------------------------


def asked(mismatch: Mismatch) -> str:
    """What ``mismatch.x`` is: the network's input, or that of a part, or an accumulator."""
    return {
        "run": "input",
        "layer": f"input, asked for the outputs of layer {mismatch.layer}",
        "dense": f"input of layer {mismatch.layer} alone",
        "requantize": f"accumulator of layer {mismatch.layer}, neuron {mismatch.neuron} alone",
    }[mismatch.operation]


def differences(mismatch: Mismatch, most: int = 4) -> str:
    """Which outputs differ: ``output 3: expected 12, got 13; ...``."""
    pairs = enumerate(zip(mismatch.expected, mismatch.got, strict=False))
    differ = [f"output {i}: expected {e}, got {g}" for i, (e, g) in pairs if e != g]
    return "; ".join(differ[:most]) + (f"; and {len(differ) - most:,} more" if len(differ) > most else "")


def place(location: Location) -> str:
    """``layer 1, neuron 5, in requantize``, and how that is known."""
    stage = "" if location.stage == "unknown" else f", in {printable(location.stage)}"
    how = "as the device showed" if location.observed else "inferred; the device did not show it"
    return f"layer {location.layer}, neuron {location.neuron}{stage} ({how})"


def arithmetic(location: Location) -> str:
    """The numbers there: ``acc 1234; rule; expected 12, got 13``."""
    name, value = got(location)
    return f"acc {location.acc}; {printable(location.rule)}; expected {location.expected}, {name} {value}"


def got(location: Location) -> tuple[str, str]:
    """What came instead of the expected value, and whether the device said so or the diagnosis does."""
    if location.got is None:
        return "got", "unknown"
    return ("got" if location.observed else "by the diagnosis"), str(location.got)


def found(mismatch: Mismatch, diagnosis: Diagnosis | None) -> str:
    """How many inferences it took."""
    text = f"by inference {mismatch.inference:,}, in group {printable(mismatch.group)}"
    more = [f"{mismatch.shrinking:,} more made it small"] if mismatch.shrinking else []
    more += [f"{diagnosis.questions:,} more told hypotheses apart"] if diagnosis and diagnosis.questions else []
    return "; ".join([text, *more])


def hypothesis(explanation: Explanation) -> str:
    """``if layer 1 rounds half away from zero``."""
    if not explanation.faults:
        return "without any fault, by the specification"
    return f"if {printable(explanation.text)}"


def explains(explanation: Explanation) -> str:
    """``matches on all 4,096 inputs if ...``, or on how many of them."""
    if explanation.complete:
        share = f"all {count(explanation.of, 'input')}"
    else:
        share = f"{percent(explanation.matched, explanation.of)} of {count(explanation.of, 'input')}"
    return f"matches on {share} {hypothesis(explanation)}"


def diagnosis(report: Report) -> list[str]:
    """The diagnosis in sentences: the best explanation or those tied, then the next best."""
    found = report.diagnosis
    if found is None or not found.explanations:
        return []
    best, rest = found.explanations[: max(1, found.tied)], found.explanations[max(1, found.tied) :]
    lines = [explains(best[0])]
    if not best[0].complete:
        lines[0] = f"no hypothesis of {found.tried:,} explains all; the best {lines[0]}"
    if same := [hypothesis(other).removeprefix("if ") for other in best[1:] if other.same]:
        lines.append(f"which is proved to be the same here as: {'; '.join(same)}")
    if others := [other for other in best[1:] if not other.same]:
        lines += [f"or {hypothesis(other)}" for other in others]
        lines.append(f"no input tried tells these {len(others) + 1} apart")
    if rest:
        lines.append(
            f"the next best explains {percent(rest[0].matched, rest[0].of)}: {hypothesis(rest[0]).removeprefix('if ')}"
        )
    return lines


# --- groups, failures ----------------------------------------------------------------------------------------------


def group_line(group: Group, report: Report) -> str:
    """``12 of 300 wrong, first at inference 37``, with what else is to be said of it."""
    parts = []
    if group.wrong:
        parts.append(f"{group.wrong:,} of {group.inputs:,} wrong, first at inference {group.first_wrong or 0:,}")
    if group.answered < group.inputs:
        parts.append(f"{group.inputs - group.answered:,} of {group.inputs:,} without an answer")
    if not parts:
        parts.append(f"all {group.inputs:,} right")
    if group.name in report.expected_failures:
        parts.append("passes, but is expected to fail" if group.passed else "expected to fail")
    return "; ".join(parts)


def missing_expectations(report: Report) -> tuple[str, ...]:
    """Names that are expected to fail and are no groups of this campaign."""
    names = {group.name for group in report.groups}
    return tuple(name for name in report.expected_failures if name not in names)


def by_kind(failures: Iterable[tuple[int, Row, Failure]]) -> list[tuple[str, int, tuple[int, Row, Failure]]]:
    """Kind, how often, and the first of it, in the order in which they came."""
    failures = list(failures)
    often = Counter(failure.kind for _, _, failure in failures)
    first = {failure.kind: (inference, x, failure) for inference, x, failure in reversed(failures)}
    return [(kind, often[kind], first[kind]) for kind in often]


def failure_lines(failures: Iterable[tuple[int, Row, Failure]]) -> list[str]:
    """A sentence a kind, with its first case: ``hang, 3 times, first at inference 7, on [0]: it gave ...``."""
    lines = []
    for kind, times, (inference, x, failure) in by_kind(failures):
        often = f"{kind}, {times:,} times, first" if times > 1 else kind
        said = f": {printable(failure.message)[:300]}" if failure.message else ""
        lines.append(f"{often} at inference {inference:,}, on {vector(x, 6)}: {FAILURES[kind]}{said}")
    return lines


def flaky_line(flaky: tuple[Row, Row, Row]) -> str:
    """The input with two answers, and both."""
    return f"{vector(flaky[0])} was answered {vector(flaky[1])}, and asked again {vector(flaky[2])}"


# --- coverage ------------------------------------------------------------------------------------------------------


class Coverage(NamedTuple):
    """How many events: seen in the network's output, only reached, not reached, provably unreachable."""

    shown: int
    reached: int
    missed: int
    unreachable: int

    @property
    def possible(self) -> int:
        """Those not proved unreachable."""
        return self.shown + self.reached + self.missed


def cover(events: Iterable[Event]) -> Coverage:
    """What became of ``events``."""
    kinds = Counter(
        "shown" if e.shown else "reached" if e.reached else "unreachable" if e.unreachable else "missed" for e in events
    )
    return Coverage(kinds["shown"], kinds["reached"], kinds["missed"], kinds["unreachable"])


def coverage_lines(events: Sequence[Event]) -> list[str]:
    """The coverage in two sentences."""
    if not events:
        return []
    c = cover(events)
    reached = f"{c.shown + c.reached:,} of {count(c.possible, 'boundary event')} reached"
    lines = [f"{reached}, {c.shown:,} so that the output shows it"]
    by_layer = Counter(e.layer for e in events if not e.reached and not e.unreachable)
    missed = ", ".join(f"{n:,} in layer {layer}" for layer, n in sorted(by_layer.items())[:8])
    lines.append(f"not reached: {missed or 'none'}; {c.unreachable:,} more are provably unreachable")
    return lines
