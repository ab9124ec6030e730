"""The figures of the outputs: floats against integers, and how far both are from what was to come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.conform.report.words import count
from intnn.floats import meaning
from intnn.floats.network import Floats
from intnn.pictures import marks
from intnn.pictures.evidence import Evidence, some
from intnn.pictures.marks import Axis, Bar, Plot, Row, number, percent

OUTPUTS = 12
"""Outputs that are drawn; the tables have all."""

POINTS = 500
"""Samples in a scatter plot."""

BINS = 48


def rmse(errors: Floats) -> Floats:
    """Root mean square over rows: (outputs,)."""
    return np.asarray(np.sqrt(np.mean(errors**2, axis=0)))


def title(evidence: Evidence) -> str:
    """The heading."""
    if evidence.float_outputs is None:
        return "Integer network against targets"
    return "Integer network against float network" + (" and targets" if evidence.target is not None else "")


def reading(evidence: Evidence) -> str:
    """How to read it."""
    labels = (
        "The bars count the samples of each label that the largest output names rightly. " if evidence.labels else ""
    )
    if evidence.float_outputs is None and evidence.labels:
        return labels
    across = "target" if evidence.float_outputs is None else "output of the float network"
    subject = "difference from the float network" if _real_targets(evidence) is None else "error against the targets"
    few = ""
    if len(evidence.x) > POINTS:
        few = f" {POINTS:,} of {len(evidence.x):,} samples are drawn, evenly spaced; all figures are from all of them."
    unit = "real units" if evidence.samples is not None else "steps of the output"
    return (
        f"{labels}In the upper plots each dot is a sample, across its {across}, upward that of the integer network; on "
        f"the line they are equal. The lower ones show how often which {subject} occurs. All in {unit}.{few}"
    )


def _real_targets(evidence: Evidence) -> Floats | None:
    return None if evidence.target is None or evidence.labels else evidence.target


def summary(evidence: Evidence) -> str:
    """The error in a few words, or nothing."""
    if evidence.target is None:
        if evidence.float_outputs is None:
            return ""
        return f"; RMSE {number(meaning.error(evidence.outputs, evidence.float_outputs))} from the float network"
    wrong = meaning.error(evidence.outputs, evidence.target)
    says = f"; {percent(1 - wrong)} right" if evidence.labels else f"; RMSE {number(wrong)}"
    if evidence.float_outputs is None:
        return says
    wrong = meaning.error(evidence.float_outputs, evidence.target)
    return says + f", the float network {percent(1 - wrong) if evidence.labels else number(wrong)}"


def section(evidence: Evidence) -> str:
    """Right answers by label, and for each output a scatter plot, a histogram of errors and their figures."""
    text = _labels(evidence) if evidence.labels else ""
    target = _real_targets(evidence)
    if evidence.float_outputs is None and target is None:
        return text
    across = evidence.float_outputs if evidence.float_outputs is not None else target
    assert across is not None
    figures = "".join(
        f"<div><h3>output {o}</h3>{_scatter(evidence, across, o)}{_histogram(evidence, target, o)}</div>"
        for o in range(min(across.shape[1], OUTPUTS))
    )
    rest = across.shape[1] - OUTPUTS
    more = f'<p class="note">{count(rest, "more output")} in the table.</p>' if rest > 0 else ""
    return f'{text}<div class="plots">{figures}</div>{more}{_table(evidence, target)}'


def errors(evidence: Evidence, target: Floats | None) -> list[tuple[str, str, Floats]]:
    """What is compared: name, class in the style, and the errors (batch, outputs)."""
    if target is None:
        assert evidence.float_outputs is not None
        return [("difference", "integer", evidence.outputs - evidence.float_outputs)]
    found = [("integer", "integer", evidence.outputs - target)]
    if evidence.float_outputs is not None:
        found.append(("float", "float", evidence.float_outputs - target))
    return found


def _scatter(evidence: Evidence, across: Floats, output: int) -> str:
    x, y = across[:, output], evidence.outputs[:, output]
    held = [float(v) for v in (x.min(), x.max(), y.min(), y.max())]
    what = "target" if evidence.float_outputs is None else "float network"
    plot = Plot(Axis.around(held, what), Axis.around(held, "integer network"), height=270)
    low, high = plot.x.low, plot.x.high
    line = plot.curve([(low, low), (high, high)], "faint")
    pairs = some(np.stack([x, y], axis=1), POINTS).tolist()
    says = f"output {output}: integer network against {what}, RMSE of the difference {number(float(rmse(y - x)))}"
    return plot.svg(line + plot.points(((a, b) for a, b in pairs), "integer"), says)


def _histogram(evidence: Evidence, target: Floats | None, output: int) -> str:
    """The errors' distributions, one over the other, each with its RMSE."""
    series = [(name, kind, e[:, output]) for name, kind, e in errors(evidence, target)]
    reach = max(float(np.quantile(np.abs(e), 0.998)) for *_, e in series) * 1.05 or 1.0
    edges = np.linspace(-reach, reach, BINS + 1)
    counts = [np.histogram(e, edges)[0] for *_, e in series]
    most = max(int(c.max()) for c in counts) or 1
    plot = Plot(
        Axis(-reach, reach, "error" if target is not None else "difference from float"),
        Axis(0, most, ""),
        height=160,
        top=42,
    )
    content = f'<line class="grid" x1="{plot.px(0):.1f}" x2="{plot.px(0):.1f}" y1="{plot.top}" y2="{plot.py(0):.1f}"/>'
    for (_, kind, _), c in zip(series, counts, strict=True):
        content += _steps(plot, edges, c, kind)
    says = []
    for i, (name, kind, e) in enumerate(series):
        words = f"{name} RMSE {number(float(rmse(e)))}"
        content += f'<text class="{kind}" x="{plot.left}" y="{plot.top - 26 + 15 * i}">{words}</text>'
        says.append(words)
    beyond = sum(int((np.abs(e) > reach).sum()) for *_, e in series)
    if beyond:
        content += f'<text x="{plot.width - plot.right}" y="{plot.top - 26}" text-anchor="end">{beyond:,} beyond</text>'
    return plot.svg(content, f"output {output}: distribution of errors; {', '.join(says)}", upright=False)


def _steps(plot: Plot, edges: Floats, counts: npt.NDArray[Any], kind: str) -> str:
    """A histogram as an outline over a faint area."""
    base = plot.py(0)
    d = f"M{plot.px(edges[0]):.1f} {base:.1f}"
    for edge, c in zip(edges[1:], counts, strict=True):
        d += f"V{plot.py(c):.1f}H{plot.px(edge):.1f}"
    d += f"V{base:.1f}"
    return f'<path class="area {kind}" d="{d}Z"/><path class="curve {kind}" d="{d}"/>'


def _table(evidence: Evidence, target: Floats | None) -> str:
    compared = errors(evidence, target)
    body: list[list[str | float]] = []
    for o in range(evidence.outputs.shape[1]):
        line: list[str | float] = [str(o)]
        for _, _, e in compared:
            column = e[:, o]
            line += [float(rmse(column)), float(column.mean()), float(np.abs(column).max())]
        body.append(line)
    head = ["output"]
    for name, *_ in compared:
        head += [f"{name} RMSE", f"{name} mean error", f"{name} largest error"]
    return marks.table("Errors of each output", head, body)


def _labels(evidence: Evidence) -> str:
    """A row a label: the share of its samples answered rightly by either network."""
    assert evidence.target is not None
    answers = [("integer", evidence.outputs.argmax(axis=1))]
    if evidence.float_outputs is not None:
        answers.append(("float", evidence.float_outputs.argmax(axis=1)))
    lines: list[Row] = []
    body: list[list[str | float]] = []
    for label in np.unique(evidence.target).tolist():
        mine = evidence.target == label
        of = int(mine.sum())
        right = [(name, int((answer[mine] == label).sum())) for name, answer in answers]
        bars = [Bar(0, right[0][1] / of, "reached")]
        marked = [n / of for _, n in right[1:]]
        value = f"{right[0][1]:,} of {of:,}"
        says = f"label {label}: " + ", ".join(f"{name} {n} of {of} right" for name, n in right)
        lines.append(Row(f"label {label}", bars, value, says, marks=marked))
        body.append([str(label), of, *(n for _, n in right)])
    lines, rest = lines[:40], len(lines) - 40
    key = '<p class="key"><span><i class="reached"></i>integer network</span>'
    if evidence.float_outputs is not None:
        key += "<span>| float network</span>"
    more = f'<p class="note">{count(rest, "more label")} in the table.</p>' if rest > 0 else ""
    ticks = [(0.0, "0 %"), (0.25, ""), (0.5, "50 %"), (0.75, ""), (1.0, "100 %")]
    head = ["label", "samples", *(f"{name} right" for name, _ in answers)]
    return f"{key}</p>{marks.rows(lines, ticks)}{more}{marks.table('Right answers by label', head, body)}"
