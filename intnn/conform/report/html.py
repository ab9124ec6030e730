"""A report as one HTML page that needs nothing else: no network, no script; light, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from intnn.conform.device import FAILURES, Failure
from intnn.conform.report import figures, words
from intnn.conform.report.figures import safe
from intnn.conform.report.style import STYLE
from intnn.conform.verdict import Explanation, Group, Location, Mismatch, Report, Row
from intnn.version import SPEC_VERSION, __version__

MOST = 50
"""Outputs, explanations and failures that are listed before the rest is only counted."""


def page(report: Report) -> str:
    """``report`` as a complete HTML document in UTF-8: the verdict, the smallest failing input and where it diverges,
    the command that reproduces it, the diagnosis, coverage, the heat map, groups, and failures of the device.

    Everything that comes from files or devices is escaped.
    """
    mismatch = report.mismatch
    sections = [
        _section("The smallest failing input", _mismatch(mismatch, report) if mismatch else ""),
        _section("To reproduce it", f"<pre>{safe(report.command)}</pre>" if report.command else ""),
        _section("Diagnosis", _diagnosis(report)),
        _section("Two answers to one input", f"<p>{safe(words.flaky_line(report.flaky))}</p>" if report.flaky else ""),
        _section("Questions without an answer", _failures(report.failures)),
        _section("Answers that broke the protocol", _failures(report.notes)),
        _section("Where outputs differ: layers and neurons", figures.heat(report) if report.heat else ""),
        _section("Groups of inputs", _groups(report)),
        _section("Coverage: boundary events", figures.coverage(report.events) if report.events else ""),
    ]
    title = safe(f"{words.word(report)}: {report.device} against {report.model}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{_head(report)}\n{''.join(sections)}"
        f"<footer>intnn {__version__}, specification {SPEC_VERSION}; {report.seconds:.1f} s</footer>\n"
        "</body>\n</html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n" if content else ""


def _list(items: Iterable[tuple[str, str]]) -> str:
    """Names and contents; the contents are HTML already."""
    return "<dl>" + "".join(f"<dt>{safe(name)}</dt><dd>{content}</dd>" for name, content in items) + "</dl>"


_COUNTS = ("inputs", "answered", "wrong")
"""Of a group; a narrow screen leaves them out, for the outcome says them too."""

_CLASSES = dict.fromkeys(("output", "expected", "got", "inference"), "number") | dict.fromkeys(_COUNTS, "number spare")


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th class="{_CLASSES.get(name, "")}">{name}</th>' for name in head)
    return f'<div class="scroll"><table><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _head(report: Report) -> str:
    facts = [
        ("model", f"{safe(report.model)}, {'-'.join(map(str, report.sizes))}"),
        ("sha256", f"<code>{safe(report.sha256)}</code>"),
        ("device", f"{safe(report.device)}, offers {safe(', '.join(report.operations))}"),
        *((name, safe(value)) for name, value in report.facts.items()),
        ("seed", str(report.seed)),
    ]
    return (
        f'<header class="{report.outcome}"><p class="word">{words.word(report)}</p>'
        f"<h1>{safe(words.headline(report))}</h1>{_list(facts)}</header>"
    )


# --- the mismatch --------------------------------------------------------------------------------------------------


def _mismatch(mismatch: Mismatch, report: Report) -> str:
    items = [
        (words.asked(mismatch), f'<span class="row">{words.vector(mismatch.x, MOST)}</span>'),
        ("found", safe(words.found(mismatch, report.diagnosis))),
    ]
    if mismatch.first != mismatch.x:
        items.append(("first seen on", f'<span class="row">{words.vector(mismatch.first, MOST)}</span>'))
    text = _list(items) + _outputs(mismatch)
    if mismatch.location is not None:
        text += _location(mismatch.location, report)
    return text


def _outputs(mismatch: Mismatch) -> str:
    """Expected and got side by side; of long rows only what differs."""
    pairs = list(enumerate(zip(mismatch.expected, mismatch.got, strict=False)))
    differ = [(o, pair) for o, pair in pairs if pair[0] != pair[1]]
    shown = pairs if len(pairs) <= 16 else differ[:16]
    rows = [
        f'<tr><td class="number">{o}</td><td class="number">{e}</td>'
        f'<td class="number{" wrong" if e != g else ""}">{g}{" differs" if e != g else ""}</td></tr>'
        for o, (e, g) in shown
    ]
    table = _table(("output", "expected", "got"), rows)
    if len(pairs) <= 16:
        return table
    rest = f"; {len(differ) - 16:,} more that differ are not listed" if len(differ) > 16 else ""
    return f"<p>{len(differ):,} of {len(pairs):,} outputs differ{rest}:</p>{table}"


def _location(location: Location, report: Report) -> str:
    chain = f"<li>input<br>{report.sizes[0]}</li>"
    for k, size in enumerate(report.sizes[1:]):
        kind = "here" if k == location.layer else "after" if k > location.layer else ""
        place = f", neuron {location.neuron}" if kind == "here" else ""
        chain += f'<li class="{kind}">layer {k}{place}<br>{size}</li>'
    name, value = words.got(location)
    numbers = _list(
        [
            ("first difference", safe(words.place(location))),
            ("accumulator", f"<code>{location.acc}</code>"),
            ("requantization", f"<code>{safe(location.rule)}</code>"),
            ("expected", f"<code>{location.expected}</code>"),
            (name, f"<code>{value}</code>"),
        ]
    )
    return f'<ol class="chain">{chain}</ol>{numbers}'


def _diagnosis(report: Report) -> str:
    found = report.diagnosis
    if found is None or not found.explanations:
        return ""
    sentences = "".join(f"<p>{safe(line[0].upper() + line[1:])}.</p>" for line in words.diagnosis(report))
    bars = "".join(_bar(explanation) for explanation in found.explanations[:MOST])
    tried = f'<p class="soft">{words.count(found.tried, "hypothesis").replace("hypothesiss", "hypotheses")} tried.</p>'
    return f'{sentences}<ul class="bars">{bars}</ul>{tried}'


def _bar(explanation: Explanation) -> str:
    share = words.percent(explanation.matched, explanation.of)
    width = 100 * explanation.matched / explanation.of if explanation.of else 0
    names = f" <small>{safe(', '.join(explanation.faults))}</small>" if explanation.faults else ""
    kind = ' class="full"' if explanation.complete else ""
    return (
        f"<li{kind}>{safe(explanation.text)}{', proved to be the same here' if explanation.same else ''}{names}"
        f'<div class="meter"><div style="width:{width:.3f}%"></div></div>'
        f"<small>{share}: {explanation.matched:,} of {words.count(explanation.of, 'input')}</small></li>"
    )


# --- groups, failures ----------------------------------------------------------------------------------------------


def _groups(report: Report) -> str:
    rows = [_group(group, report) for group in report.groups]
    absent = "not a group here, but expected to fail"
    rows += [f'<tr><td>{safe(n)}</td><td colspan="4">{absent}</td></tr>' for n in words.missing_expectations(report)]
    return _table(("group", *_COUNTS, "outcome"), rows)


def _group(group: Group, report: Report) -> str:
    expected = group.name in report.expected_failures
    tone = "mismatch" if group.wrong and not expected else "" if not group.passed else "pass"
    numbers = "".join(f'<td class="number spare">{getattr(group, name):,}</td>' for name in _COUNTS)
    outcome = safe(words.group_line(group, report))
    return f'<tr><td>{safe(group.name)}</td>{numbers}<td class="outcome {tone}">{outcome}</td></tr>'


def _failures(failures: Sequence[tuple[int, Row, Failure]]) -> str:
    if not failures:
        return ""
    rows = [
        f'<tr><td class="number">{inference:,}</td><td class="row">{words.vector(x, 8)}</td>'
        f"<td>{safe(failure.kind)}</td><td>{FAILURES[failure.kind]}"
        f"{': ' + safe(failure.message) if failure.message else ''}</td></tr>"
        for inference, x, failure in failures[:MOST]
    ]
    rest = f"<p>and {len(failures) - MOST:,} more</p>" if len(failures) > MOST else ""
    kinds = ", ".join(f"{kind} {times:,}" for kind, times, _ in words.by_kind(failures))
    return f"<p>{kinds}</p>" + _table(("inference", "input", "kind", "what was seen"), rows) + rest
