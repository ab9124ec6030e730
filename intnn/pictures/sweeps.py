"""The figures of quantizing anew: what each step cost, and what fewer bits do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from intnn import engines
from intnn.conform.report.figures import safe
from intnn.conform.report.words import count
from intnn.errors import ModelError
from intnn.floats import meaning
from intnn.floats.attribution import attribute
from intnn.floats.quantize import Quantized, quantize
from intnn.floats.scheme import CHOICES, Scheme
from intnn.formats.native import network_hash
from intnn.model import Fixed, Network
from intnn.pictures import marks
from intnn.pictures.evidence import Evidence, some
from intnn.pictures.marks import Axis, Bar, Plot, Row, number, percent

SAMPLES = 4000
"""Samples that networks are quantized with anew, and measured on."""


def scheme_of(net: Network) -> Scheme:
    """The scheme that ``net``'s integers look like: types, weights, grain and multipliers; all else by default."""
    rules = [layer.requantize for layer in net.layers]
    numbers = [np.asarray(rule.multiplier) for rule in rules if isinstance(rule, Fixed)]
    bits = max((int((m // (m & -m)).max()).bit_length() for m in numbers), default=31)  # factors of 2 are shifts
    return Scheme(
        activations=net.layers[0].output.type if len(net.layers) > 1 else net.input.type,
        input=net.input.type,
        output=net.output.type,
        weights="int4" if all(np.abs(layer.weights.astype(int)).max() <= 7 for layer in net.layers) else "int8",
        per_channel=any(np.ndim(value) for rule in rules for value in vars(rule).values()),
        requantize=next(
            n for n, most in (("power-of-two", 1), ("8-bit", 8), ("15-bit", 15), ("q31", 32)) if bits <= most
        ),
    )


class Few(NamedTuple):
    """Some of the samples, what was to come out for them, and in words how many they are."""

    x: Any
    target: Any
    says: str


def few(evidence: Evidence) -> Few:
    """At most :data:`SAMPLES` of the samples."""
    assert evidence.samples is not None
    says = ""
    if len(evidence.samples) > SAMPLES:
        says = f" {SAMPLES:,} of the {len(evidence.samples):,} samples are used here, evenly spaced."
    target = None if evidence.target is None else some(evidence.target, SAMPLES)
    return Few(some(evidence.samples, SAMPLES), target, says)


# --- attribution ---------------------------------------------------------------------------------------------------


def attribution(evidence: Evidence, quantized: Quantized | None) -> str:
    """The error after each step, as a waterfall."""
    assert evidence.floats is not None
    data = few(evidence)
    note = ""
    if quantized is None:
        scheme = scheme_of(evidence.net)
        limits = (evidence.net.input.min, evidence.net.input.max) if data.x.dtype.kind in "iu" else None
        quantized = quantize(evidence.floats, data.x, scheme=scheme, input_range=limits)
        note = f"The model does not say how it was quantized; these steps quantize the floats anew, here: {scheme}."
    found = attribute(quantized, data.x, data.target)
    steps = [(step.name, step.error) for step in found.steps]
    if network_hash(quantized.network) != network_hash(evidence.net):
        steps.append(("this model", _error(evidence.net, data, evidence)))
        note += " The last bar leads from there to the model itself, which was trained further, or quantized otherwise."
    show = percent if found.metric == "error rate" else number
    values = [error for _, error in steps]
    low, high = min(values), max(values)
    from_zero = low < 0.7 * high or high - low < 0.02 * high  # one difference to be seen, or none worth magnifying
    least = 0.0 if from_zero else low - 0.35 * (high - low or high)
    axis = Axis(least, high + 0.06 * (high - least) or 1.0, "")
    lines: list[Row] = []
    body: list[tuple[str | float, ...]] = []
    for i, (name, error) in enumerate(steps):
        before = steps[i - 1][1] if i else axis.low
        kind = "unreachable" if not i else "missed" if error > before else "shown"
        ends = axis.share(min(before, error)), axis.share(max(before, error))
        bars = [Bar(ends[0], ends[1], kind)] if error != before and (i or from_zero) else []
        change = f" ({_change(error, before, show)})" if i else ""
        says = f"after {name}: {found.metric} {show(error)}{change}"
        lines.append(Row(name, bars, f"{show(error)}{change}", says, marks=(axis.share(error),)))
        body.append((name, show(error), _change(error, before, show) if i else ""))
    unit = (100, " %") if found.metric == "error rate" else (1, "")
    ticks = [(axis.share(tick), number(round(unit[0] * tick, 12)) + unit[1]) for tick in axis.ticks]
    against = "the targets" if found.reference == "target" else "the float network"
    cut = "" if from_zero else " The axis does not begin at 0."
    metric = found.metric[0].upper() + found.metric[1:]
    text = f'<p class="note">{metric} against {against}.{cut} {safe(note)}{data.says}</p>'
    key = (
        '<p class="key"><span><i class="missed"></i>the step adds error</span>'
        '<span><i class="shown"></i>the step takes error away</span></p>'
    )
    table = marks.table("Error after each step", ("step", found.metric, "change"), body)
    return f"{text}{key}{marks.rows(lines, ticks)}{table}"


def _change(error: float, before: float, show: Callable[[float], str]) -> str:
    difference = error - before
    return ("+" if difference > 0 else marks.MINUS if difference < 0 else "\u00b1") + show(abs(difference))


def _error(net: Network, data: Few, evidence: Evidence) -> float:
    """The error of ``net``, whose input means what that of the evidence's network means."""
    assert evidence.floats is not None
    y = meaning.decode(net, engines.run(net, meaning.encode(net, data.x), engine="fast"))
    return meaning.error(y, evidence.floats.run(data.x) if data.target is None else data.target)


# --- bit widths ----------------------------------------------------------------------------------------------------


class Width(NamedTuple):
    """A network quantized anew: the type of its ``activations``, ``bits`` of a weight, and its ``error``, or ``None``
    where no integers keep it within int32."""

    activations: str
    bits: int
    error: float | None


def narrowed(scheme: Scheme, bits: int) -> Scheme:
    """``scheme`` with weights of ``bits`` bits, from 2 to 8, sign included: what a sweep wants, and no option has."""

    class Narrowed(Scheme):
        @property
        def largest_weight(self) -> int:
            return (1 << (bits - 1)) - 1

    return Narrowed(**{field.name: getattr(scheme, field.name) for field in fields(scheme)})


def widths(evidence: Evidence, scheme: Scheme) -> list[Width]:
    """The error for 2 to 8 bits a weight and each type of activations, all else by ``scheme``."""
    assert evidence.floats is not None
    data = few(evidence)
    limits = (evidence.net.input.min, evidence.net.input.max) if data.x.dtype.kind in "iu" else None
    found = []
    for activations in CHOICES["activations"]:
        for bits in range(2, 9):
            one = narrowed(replace(scheme, activations=activations), bits)
            try:
                made = quantize(evidence.floats, data.x, scheme=one, input_range=limits).network
            except ModelError as error:
                if error.code != "quantize.overflow":
                    raise
                found.append(Width(activations, bits, None))
            else:
                found.append(Width(activations, bits, _error(made, data, evidence)))
    return found


def bit_widths(evidence: Evidence, quantized: Quantized | None) -> str:
    """Error over bits a weight, a line for each type of activations, and the float network's error."""
    assert evidence.floats is not None
    scheme = quantized.scheme if quantized is not None else scheme_of(evidence.net)
    found, data = widths(evidence, scheme), few(evidence)
    metric = meaning.metric(data.target, evidence.net.sizes[-1])
    goal = None if data.target is None else meaning.error(evidence.floats.run(data.x), data.target)
    mine = _error(evidence.net, data, evidence)
    show = percent if metric == "error rate" else number
    held = [w.error for w in found if w.error is not None] + [mine] + ([goal] if goal is not None else [])
    log = min(held) > 0 and max(held) > 5 * min(held)
    against = "" if goal is not None else " from the float network"
    y = Axis.around(held, f"{metric}{against}", log=log, zero=not log)
    plot = Plot(Axis(1.8, 8.2, "bits a weight", labelled=tuple(range(2, 9))), y, width=360, height=270, right=74)
    content, ends = "", []
    if goal is not None:
        content += plot.curve([(1.8, goal), (8.2, goal)], "float dashed")
        ends.append((plot.py(goal), "float", "float"))
    for activations, shape in (("int8", "round"), ("uint8", "square"), ("int16", "full")):
        line = [(w.bits, w.error) for w in found if w.activations == activations and w.error is not None]
        if line:
            content += plot.curve(line, "integer") + "".join(_symbol(plot, *place, shape) for place in line)
            ends.append((plot.py(line[-1][1]), activations, "integer"))
    mine_at = plot.px(_bits(evidence.net)), plot.py(mine)
    content += (
        f'<circle class="ring" cx="{mine_at[0]:.1f}" cy="{mine_at[1]:.1f}" r="8"><title>this model</title></circle>'
    )
    for at, (_, name, kind) in zip(_spread([at for at, *_ in ends], 13), ends, strict=True):
        content += f'<text class="{kind}" x="{plot.width - plot.right + 8}" y="{at + 4:.1f}">{name}</text>'
    svg = plot.svg(content, f"{metric} over bits a weight, for int8, uint8 and int16 activations")
    refused = sum(w.error is None for w in found)
    note = f"All else as in {scheme}. This model, in the ring: {metric} {show(mine)}."
    if refused:
        note += f" {count(refused, 'combination')} cannot be kept within int32."
    body: list[list[str | float]] = [
        [w.activations, w.bits, "refused: leaves int32" if w.error is None else show(w.error)] for w in found
    ]
    table = marks.table("Error of each combination", ("activations", "bits a weight", metric), body)
    return f'<p class="note">{safe(note)}{data.says}</p><div class="plots"><div>{svg}</div></div>{table}'


def _bits(net: Network) -> int:
    """The bits that the largest weight of ``net`` needs, at least 2, sign included."""
    largest = max(int(np.abs(layer.weights.astype(int)).max()) for layer in net.layers)
    return min(max(2, largest.bit_length() + 1), 8)


def _symbol(plot: Plot, x: float, y: float, shape: str) -> str:
    at, up = plot.px(x), plot.py(y)
    if shape == "square":
        return f'<rect class="hollow" x="{at - 3:.1f}" y="{up - 3:.1f}" width="6" height="6"/>'
    kind = "hollow" if shape == "round" else "shown"
    return f'<circle class="{kind}" cx="{at:.1f}" cy="{up:.1f}" r="3.4"/>'


def _spread(places: Sequence[float], least: float) -> list[float]:
    """``places`` moved apart, in their order, until labels there do not overlap."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for _ in range(100):
        for a, b in pairwise(order):
            overlap = least - (moved[b] - moved[a])
            if overlap > 1e-6:
                moved[a] -= overlap / 2
                moved[b] += overlap / 2
    return moved
