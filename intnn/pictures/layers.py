"""The figures of the integers themselves: headroom, weights, activations, saturation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from intnn.bounds import Proof
from intnn.conform.report.figures import ranges
from intnn.conform.report.words import count
from intnn.model import TYPES, Network
from intnn.pictures import marks
from intnn.pictures.evidence import Evidence
from intnn.pictures.marks import MINUS, Bar, Column, Row, number, percent

# --- headroom ------------------------------------------------------------------------------------------------------


class Reach(NamedTuple):
    """How far a number of a layer goes: ``proved`` for every input, ``observed`` on the data or ``None``."""

    layer: int
    what: str
    proved: tuple[int, int]
    observed: tuple[int, int] | None

    @property
    def free(self) -> int:
        """Bits of int32 that no such number needs."""
        return 31 - max((v if v >= 0 else ~v).bit_length() for v in self.proved)


def reaches(proof: Proof, evidence: Evidence | None) -> list[Reach]:
    """Accumulator, partial sums and product of each layer proved."""
    found = []
    for k, layer in enumerate(proof.layers):
        acc = product = None
        if evidence is not None:
            acc, products = _ends(evidence.traces[k].acc), evidence.product(k)
            product = None if products is None else _ends(products)
        found.append(Reach(k, "accumulator", (int(layer.acc_low.min()), int(layer.acc_high.max())), acc))
        found.append(Reach(k, "any partial sum", (int(layer.sum_low.min()), int(layer.sum_high.max())), None))
        if layer.product_low is not None and layer.product_high is not None:
            proved = int(layer.product_low.min()), int(layer.product_high.max())
            found.append(Reach(k, "product", proved, product))
    return found


def _ends(values: npt.NDArray[Any]) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def bits(value: int) -> float:
    """Where ``value`` lies on an axis of bits, 0 at -2^31 and 1 at 2^31: each bit is as wide as any other."""
    return 0.5 + math.copysign(min(math.log2(1 + abs(value)) / 31, 1) / 2, value)


def headroom(proof: Proof, evidence: Evidence | None) -> str:
    """Bars of bits, both signs, against int32."""
    found = reaches(proof, evidence)
    ticks = [(bits(-(1 << n)), marks.power(n, negative=True)) for n in (31, 16, 8)]
    ticks += [(0.5, "0"), *((bits(1 << n), marks.power(n)) for n in (8, 16, 31))]
    ticks += [(bits(sign << 24), "") for sign in (-1, 1)]  # whose labels a phone has no room for
    lines: list[Row] = []
    body: list[tuple[str | float, ...]] = []
    for reach in found:
        bars = [Bar(bits(reach.proved[0]), bits(reach.proved[1]), "reached")]
        says = f"layer {reach.layer} {reach.what}: proved within {_interval(reach.proved)}"
        if reach.observed is not None:
            bars.append(Bar(bits(reach.observed[0]), bits(reach.observed[1]), "shown", thin=True))
            says += f", observed within {_interval(reach.observed)}"
        name = f"layer {reach.layer}: {reach.what}" if reach.what == "accumulator" else reach.what
        free = f"{count(reach.free, 'bit')} free"
        lines.append(Row(name, bars, free, f"{says}; {free}", begins=reach.what == "accumulator"))
        seen: tuple[str, ...] = () if evidence is None else tuple(map(number, reach.observed or ())) or ("", "")
        body.append((f"{reach.layer}", reach.what, *reach.proved, *seen, reach.free))
    seen_head = () if evidence is None else ("least observed", "most observed")
    head = ("layer", "number", "least proved", "most proved", *seen_head, "bits free")
    key = '<p class="key"><span><i class="reached"></i>proved, for every input in the declared range</span>'
    if evidence is not None:
        key += '<span><i class="shown"></i>observed on the data</span>'
    return f"{key}</p>{marks.rows(lines, ticks)}{marks.table('Bounds and observed ranges', head, body)}"


def _interval(ends: Sequence[int]) -> str:
    return f"[{number(ends[0])}, {number(ends[1])}]"


# --- weights and activations ---------------------------------------------------------------------------------------


def weights(net: Network) -> str:
    """For each layer a strip of its neurons' weights, and how often each value occurs."""
    figures = ""
    body: list[tuple[str | float, ...]] = []
    for k, layer in enumerate(net.layers):
        w = layer.weights
        most = 7 if np.abs(w.astype(np.int64)).max() <= 7 else 127
        text = (
            f"{count(w.shape[1], 'input')}, {count(len(w), 'neuron')}; "
            f"{len(np.unique(w))} of the {2 * most + 1} values within [{MINUS}{most}, {most}] used"
        )
        if (w == -128).any():
            text += f", and {MINUS}128 {int((w == -128).sum())} times"
        figures += _panel(f"layer {k}", text, w, (-most - (w == -128).any(), most), (-most, 0, most))
        body += [(f"{k}", f"{o}", *_ends(row), _different(row), int(layer.bias[o])) for o, row in enumerate(w)]
    head = ("layer", "neuron", "least weight", "largest weight", "different values", "bias")
    return figures + marks.table("Weights of each neuron", head, body)


def activations(net: Network, evidence: Evidence) -> str:
    """For the input and each layer's output a strip of the ranges observed, within declared range or clamp."""
    figures = ""
    body: list[tuple[str | float, ...]] = []
    for k, (vector, a) in enumerate(zip(evidence.vectors, [*net.inputs, net.output], strict=True)):
        name = f"layer {k - 1} output" if k else "input"
        low, high = _ends(vector)
        used, of = (
            (high - low + 1) / (a.max - a.min + 1),
            (a.max - a.min + 1) / (TYPES[a.type][1] - TYPES[a.type][0] + 1),
        )
        text = (
            f"{'clamp' if k else 'declared range'} {_interval((a.min, a.max))}, {percent(of)} of {a.type}; observed "
            f"{_interval((low, high))}, {percent(used)} of that"
        )
        figures += _panel(name, text, vector.T, (a.min, a.max), (a.zero_point,))
        body += [(name, f"{o}", *_ends(values), _different(values)) for o, values in enumerate(vector.T)]
    head = ("vector", "element", "least observed", "most observed", "different values")
    return figures + marks.table("Observed range of each element", head, body)


def _different(values: npt.NDArray[Any]) -> int:
    """How many values occur."""
    return int(np.count_nonzero(np.bincount(values.astype(np.int64) + 32768, minlength=1)))


def _panel(name: str, text: str, values: npt.NDArray[Any], axis: tuple[int, int], ticks: Iterable[int]) -> str:
    """A strip of the range of each row of ``values``, and in at most 64 bins how often values occur."""
    least, most = axis
    columns = []
    for which in marks.columns(len(values)):
        low, high = _ends(values[which[0] : which[-1] + 1])
        columns.append(Column([(low - 0.5, high + 0.5, "shown")], f"{marks.neuron(which)}: {_interval((low, high))}"))
    counts = np.histogram(values, bins=min(64, most - least + 1), range=(least - 0.5, most + 0.5))[0]
    beside = marks.margin(counts.tolist(), f"{name}: how often each value occurs")
    inside = [tick for tick in ticks if least <= tick <= most]
    labels = [(float(v), number(v)) for v in _apart([least, most, *inside], (most - least) / 9)]
    figure = marks.strip(columns, len(values), (least - 0.5, most + 0.5), labels, f"{name}: {text}", beside=beside)
    return f'<div class="panel"><h3>{name} <span>{text}</span></h3>{figure}</div>'


def _apart(ticks: Iterable[int], least: float) -> list[int]:
    """Those ticks, earlier ones first, that leave room for each other's labels."""
    kept: list[int] = []
    for tick in ticks:
        if tick not in kept and all(abs(tick - other) >= least for other in kept):
            kept.append(tick)
    return kept


# --- saturation ----------------------------------------------------------------------------------------------------


class Saturation(NamedTuple):
    """What one layer's neurons do at their clamp; arrays are of shape (outputs,).

    ``low`` and ``high`` are the shares of samples at the lower and the upper bound; ``relu`` is whether the lower one
    is the zero point, and so meant. ``dead``: never above the lower bound on the data; ``constant``: one output for
    every input, by the proof.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    relu: bool
    dead: npt.NDArray[np.bool_]
    constant: npt.NDArray[np.bool_]


def saturations(net: Network, proof: Proof, evidence: Evidence) -> list[Saturation]:
    """The saturation of each layer."""
    found = []
    for layer, proved, trace in zip(net.layers, proof.layers, evidence.traces, strict=True):
        low, high = trace.output == layer.output.min, trace.output == layer.output.max
        found.append(
            Saturation(
                low.mean(axis=0),
                high.mean(axis=0),
                layer.output.min == layer.output.zero_point,
                low.all(axis=0),
                np.equal(proved.output_low, proved.output_high),
            )
        )
    return found


def saturation(net: Network, proof: Proof, evidence: Evidence) -> str:
    """For each layer a strip of shares: at the lower clamp, between, at the upper."""
    figures = ""
    body: list[tuple[str | float, ...]] = []
    for k, s in enumerate(saturations(net, proof, evidence)):
        a = net.layers[k].output
        lower = "unreachable" if s.relu else "missed"
        columns = []
        for which in marks.columns(len(s.low)):
            low, high = float(s.low[which].mean()), float(s.high[which].mean())
            parts = ((0.0, low, lower), (low, 1 - high, "reached"), (1 - high, 1.0, "missed"))
            says = f"{marks.neuron(which)}: {percent(low)} at {number(a.min)}, {percent(high)} at {number(a.max)}"
            columns.append(Column([part for part in parts if part[1] > part[0]], says))
        text = f"{'ReLU' if s.relu else 'no ReLU'}, clamp {_interval((a.min, a.max))}; {_saturated(s)}"
        ticks = [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")]
        figure = marks.strip(columns, len(s.low), (0, 1), ticks, f"layer {k}: {text}", height=80)
        figures += f'<div class="panel"><h3>layer {k} <span>{text}</span></h3>{figure}{_dead(s)}</div>'
        for o in range(len(s.low)):
            state = "constant, proved" if s.constant[o] else "dead on the data" if s.dead[o] else ""
            body.append((f"{k}", f"{o}", percent(float(s.low[o])), percent(float(s.high[o])), state))
    key = (
        '<p class="key"><span><i class="unreachable"></i>at the lower clamp of a ReLU, as meant</span>'
        '<span><i class="reached"></i>between</span><span><i class="missed"></i>saturated</span></p>'
    )
    head = ("layer", "neuron", "at the lower clamp", "at the upper clamp", "")
    return key + figures + marks.table("Saturation of each neuron", head, body)


def _saturated(s: Saturation) -> str:
    """The neuron that saturates most, where the clamp is not meant."""
    share = s.high if s.relu else s.high + s.low
    if not share.any():
        return "none saturates on the data"
    worst = int(share.argmax())
    return f"{int((share > 0).sum())} of {len(share)} saturate, neuron {worst} most: {percent(float(share[worst]))}"


def _dead(s: Saturation) -> str:
    """Neurons that say nothing, by name."""
    lines = []
    if s.constant.any():
        which = np.flatnonzero(s.constant).tolist()
        lines.append(f"One output for every input, by the proof: {_these(which)}.")
    quiet = np.flatnonzero(s.dead & ~s.constant).tolist()
    if quiet:
        lines.append(f"Never above the lower clamp on the data: {_these(quiet)}.")
    return "".join(f"<p>{line}</p>" for line in lines)


def _these(which: Sequence[int]) -> str:
    return f"{'neuron' if len(which) == 1 else 'neurons'} {ranges(which)}"
