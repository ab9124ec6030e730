"""A network as one HTML page of pictures: what was proved, what data show, and what each choice cost.

The page needs nothing else: no network, no script; light, dark and on paper. It holds no time, and no path
but the name it is given, so that the same arguments give the same bytes on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy.typing as npt

from intnn.bounds import Proof, prove
from intnn.conform.report.figures import safe
from intnn.conform.report.words import count
from intnn.errors import IntnnError
from intnn.floats.auto import Candidate
from intnn.floats.network import FloatNetwork
from intnn.floats.quantize import Quantized
from intnn.formats.native import network_hash
from intnn.model import Activation, Network
from intnn.pictures import accuracy, layers, memory, pareto, sweeps
from intnn.pictures.evidence import Evidence, gather
from intnn.pictures.marks import number
from intnn.pictures.style import STYLE
from intnn.targets.cost import Budget, Cost
from intnn.version import SPEC_VERSION, __version__


def page(
    net: Network,
    *,
    name: str,
    x: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    floats: FloatNetwork | None = None,
    quantized: Quantized | None = None,
    cost: Cost | str | None = None,
    candidates: Sequence[Candidate] = (),
    budget: Budget = Budget(32768, 16384),  # noqa: B008  # frozen
) -> str:
    """A complete HTML document in UTF-8 about ``net``, called ``name``.

    ``x`` (batch, inputs) are integers as the network takes them, or real values; ``y`` is what was to come out, real
    values (batch, outputs) or labels (batch,). ``floats`` is the network it was made from, by default that of
    ``quantized``. ``cost`` is what it costs, or why that is not known. A section is there where its data are.

    Raises as :func:`intnn.pictures.evidence.gather`. A network that is not valid [overflow.valid] is not run, and the
    page says so.
    """
    proof = prove(net)
    floats = floats or (quantized.floats if quantized else None)
    evidence = None if x is None or not proof.valid else gather(net, x, y, floats)
    sections = [
        _section(
            "Headroom: how much of int32 is needed",
            "Each bar goes from the least to the greatest value a number of the layer can take, in bits, negative to "
            "the left. What matters is the room to int32, the two ends of the axis.",
            layers.headroom(proof, evidence) if proof.layers else "",
        ),
        _section(
            "Weights against what is representable",
            "One upright line a neuron, from its least weight to its largest; beside it how often each value occurs, "
            "as square roots. Short lines leave precision unused.",
            layers.weights(net),
        ),
    ]
    if evidence is not None:
        sections += _on_data(net, proof, evidence, quantized)
    sections += [
        _section(
            "Error against flash and cycles",
            "One dot a scheme tried. The dark ones are the Pareto front: no other scheme is as good in all three, and "
            "better in one.",
            pareto.section(candidates, net) if candidates else "",
        ),
        _section(
            "Memory map",
            "Where the bytes go, each part after the one before. The first bar of each is to the scale of the budget.",
            memory.section(net, cost, budget) if cost is not None and proof.valid else "",
        ),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{safe(name)}: report</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{_head(net, name, proof, evidence, cost)}\n{''.join(sections)}"
        f"<footer>intnn {__version__}, specification {SPEC_VERSION}</footer>\n</body>\n</html>\n"
    )


def _on_data(net: Network, proof: Proof, evidence: Evidence, quantized: Quantized | None) -> list[str]:
    compared = evidence.float_outputs is not None or evidence.target is not None
    return [
        _section(
            "Activations against what is representable",
            f"One upright line an element, from the least value to the most on {count(len(evidence.x), 'sample')}; the "
            "upright axis is what it may hold, declared range or clamp. Lines that fill a small part of it waste bits.",
            layers.activations(net, evidence),
        ),
        _section(
            "Saturation",
            "One column a neuron: the share of samples on which its output is at the bounds of its clamp, whether it "
            "was cut there or just came to it.",
            layers.saturation(net, proof, evidence),
        ),
        _section(accuracy.title(evidence), accuracy.reading(evidence), accuracy.section(evidence) if compared else ""),
        _section(
            "What each step of quantization cost",
            "From the network of floats, one step after the other: each bar begins at the error before its step and "
            "ends at the error after it.",
            _quantizing(sweeps.attribution, evidence, quantized),
        ),
        _section(
            "Bit widths",
            "The floats quantized anew with fewer bits a weight and other types of activations, and the error of each "
            "such network.",
            _quantizing(sweeps.bit_widths, evidence, quantized),
        ),
    ]


def _quantizing(figure: Callable[[Evidence, Quantized | None], str], evidence: Evidence, made: Quantized | None) -> str:
    """A figure that quantizes the floats anew, which may not be possible with these samples."""
    if evidence.float_outputs is None:
        return ""
    try:
        return figure(evidence, made)
    except IntnnError as error:
        where = f"{error.where}: " if error.where else ""
        return f'<p class="note">Not to be had from these data: {safe(where + error.found)}.</p>'


def _section(title: str, reading: str, content: str) -> str:
    return f"<section><h2>{title}</h2><p>{reading}</p>{content}</section>\n" if content else ""


def _head(net: Network, name: str, proof: Proof, evidence: Evidence | None, cost: Cost | str | None) -> str:
    """The verdict and the facts."""
    facts = [("name", safe(net.name))] if net.name else []
    facts += [
        ("layers", f"{'-'.join(map(str, net.sizes))}, {count(_parameters(net), 'parameter')}"),
        ("input", _activation(net.input, "range")),
        *((f"layer {k}", _activation(layer.output, "clamp")) for k, layer in enumerate(net.layers)),
        ("sha256", f"<code>{network_hash(net)}</code>"),
    ]
    if proof.overflow is None:
        least = min(range(len(proof.layers)), key=lambda k: proof.layers[k].headroom)
        facts.append(("headroom", f"{count(proof.layers[least].headroom, 'bit')}, the least in layer {least}"))
        tone, word = "pass", "VALID"
        says = "no value leaves int32, for any input in the declared range"
    else:
        problem = proof.overflow.error()
        tone, word = "mismatch", "NOT VALID"
        says = "some input in the declared range drives a value out of int32; the network is not run"
        facts += [("where", safe(problem.where)), ("found", safe(problem.found)), ("repair", safe(problem.repair))]
    if evidence is not None:
        facts.append(("data", f"{count(len(evidence.x), 'sample')}{accuracy.summary(evidence)}"))
    if isinstance(cost, Cost):
        facts.append(
            (
                "cost",
                f"{cost.flash:,} bytes of flash, {cost.ram:,} of RAM, {cost.cycles:,} cycles on {safe(cost.target)}",
            )
        )
    rows = "".join(f"<dt>{term}</dt><dd>{content}</dd>" for term, content in facts)
    return f'<header class="{tone}"><p class="word">{word}</p><h1>{safe(name)}: {says}</h1><dl>{rows}</dl></header>'


def _parameters(net: Network) -> int:
    return sum(layer.weights.size + layer.bias.size for layer in net.layers)


def _activation(a: Activation, bounds: str) -> str:
    return f"{a.type}, zero point {number(a.zero_point)}, {bounds} [{number(a.min)}, {number(a.max)}]"
