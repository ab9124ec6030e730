"""What ``intnn demo rounding`` prints: how engines differ, on one screen, every figure computed when it is asked for.

The network and the held-out images are package data; docs/examples/digits.py makes them.
"""

from __future__ import annotations

import io
from fractions import Fraction
from importlib import resources
from itertools import combinations
from typing import NamedTuple

import numpy as np

from intnn.bounds import prove
from intnn.ccheck.verify import verify_c
from intnn.emit import emit_c
from intnn.engines import run, trace
from intnn.errors import UsageError
from intnn.firmware import network_cost
from intnn.formats.native import loads, network_hash
from intnn.model import Activation, Dense, Fixed, IntArray, Network, Scales
from intnn.profiles import with_profile

ENGINES = {
    "double": "TFLite Micro, CMSIS-NN",
    "upup": "LiteRT without delegate, x86",
    "fp32even": "LiteRT with XNNPACK, onnxruntime",
    "f64away": "LiteRT BUILTIN_REF",
    "single": "TOSA or CMSIS-NN, single rounding",
    "trunc0": "TinyEngine",
}
"""Profiles, and who rounds like that. All but ``trunc0`` mean to round to the nearest integer."""

INK = " .:-=+*#%@"


class Probe(NamedTuple):
    """An accumulator, the exact value it stands for in output steps, and every engine's integer for it."""

    acc: int
    exact: Fraction
    answers: tuple[int, ...]


def rounding() -> str:
    """At most 30 lines of at most 96 ASCII characters."""
    net, images, labels = bundled()
    engines = [with_profile(net, profile) for profile in ENGINES]
    image, neuron, split = find_split(engines, images)
    lines = [
        *_network(net, images, labels, image),
        "",
        f"How other engines round the same network; the first accumulator is that of neuron {neuron} above:",
        "",
        *_engines(net, engines, images, (split, *find_ties(split))),
        "",
        *_firmware(net),
    ]
    return "\n".join(line.rstrip() for line in lines)


def bundled() -> tuple[Network, IntArray, IntArray]:
    """The bundled network, its held-out images (int8, one a row) and their labels."""
    folder = resources.files("intnn.demo")
    with np.load(io.BytesIO((folder / "digits.npz").read_bytes())) as data:
        return loads((folder / "digits.json").read_bytes(), where="digits.json"), data["images"], data["labels"]


def find_split(engines: list[Network], images: IntArray) -> tuple[int, int, Probe]:
    """Where engines that round to nearest part in the first layer, beyond excuse: image, neuron and accumulator.

    That is where the exact value lies farthest from a half, so that only one integer is nearest.
    """
    layer, accs = engines[0].layers[0], trace(engines[0], images)[0].acc
    outputs = np.stack([trace(engine, images)[0].output.astype(int) for engine in engines]) - layer.output.zero_point
    nearest = outputs[[profile != "trunc0" for profile in ENGINES]]
    places = np.argwhere(nearest.max(axis=0) != nearest.min(axis=0)).tolist()
    exact = {(i, n): int(accs[i, n]) * _factor(layer) for i, n in places}
    image, neuron = max(exact, key=lambda place: abs(exact[place] % 1 - Fraction(1, 2)))
    probe = Probe(int(accs[image, neuron]), exact[image, neuron], tuple(outputs[:, image, neuron].tolist()))
    return image, neuron, probe


def find_ties(first: Probe) -> tuple[Probe, Probe]:
    """The smallest two accumulators, halved or quartered, that with ``first`` tell all engines apart."""
    probes = [_plain(acc, factor) for acc in sorted(range(-8, 9), key=abs) for factor in (0.5, 0.25)]
    return next(pair for pair in combinations(probes, 2) if _signatures((first, *pair)) == len(ENGINES))


def _plain(acc: int, factor: float) -> Probe:
    """``acc * factor`` as every engine rounds it: a network of one weight, 1."""
    layer = Dense(np.array([[1]]), np.array([0]), Fixed.floor(0), Activation(), Scales(1.0, factor, 1.0))
    net = Network(Activation(), (layer,))
    return Probe(acc, acc * _factor(layer), tuple(int(run(with_profile(net, name), [acc])[0]) for name in ENGINES))


def _factor(layer: Dense) -> Fraction:
    """What one accumulator step is worth in output steps, exactly, for a layer with one scale."""
    s = layer.scales
    assert s is not None
    assert isinstance(s.weights, float)
    return Fraction(s.input) * Fraction(s.weights) / Fraction(s.output)


def _signatures(probes: tuple[Probe, ...]) -> int:
    """How many engines the answers to ``probes`` tell apart."""
    return len(set(zip(*(probe.answers for probe in probes), strict=True)))


def _network(net: Network, images: IntArray, labels: IntArray, image: int) -> list[str]:
    outputs = run(net, images)
    right = int((outputs.argmax(axis=1) == labels).sum())
    headroom = ", ".join(f"{layer.headroom} bits in layer {i}" for i, layer in enumerate(prove(net).layers))
    dark = (len(INK) - 1) / net.input.max
    drawing = ["".join(INK[round(v * dark)] * 2 for v in row) for row in images[image].reshape(8, 8).tolist()]
    article = "an" if labels[image] == 8 else "a"
    beside = [
        f"{net.name}: a dense {'-'.join(map(str, net.sizes))} network in int32 multiply, add and shift",
        f"held-out image {image}, {article} {labels[image]}; the network answers {outputs[image].argmax()}",
        "digit " + "".join(f"{i:6}" for i in range(net.sizes[-1])),
        "logit " + "".join(f"{v:6}" for v in outputs[image]),
        "",
        f"right on {right} of {len(labels)} held-out images",
        f"int32 headroom, proved: {headroom}",
        f"model sha256 {network_hash(net)[:16]}...",
    ]
    return [f"  {left}    {text}" for left, text in zip(drawing, beside, strict=True)]


def _engines(net: Network, engines: list[Network], images: IntArray, probes: tuple[Probe, ...]) -> list[str]:
    own, count = run(net, images), len(images)
    other_answer = np.zeros(count, bool)
    lines = [
        _row("", "", "images whose", [f"acc {probe.acc}" for probe in probes]),
        _row("engine", "profile", "logits differ", [f"is {float(probe.exact):.6g}" for probe in probes]),
    ]
    for i, (profile, name) in enumerate(ENGINES.items()):
        outputs = run(engines[i], images)
        changed = int((outputs != own).any(axis=1).sum())
        other_answer |= outputs.argmax(axis=1) != own.argmax(axis=1)
        lines.append(_row(name, profile, f"{changed} of {count}", [str(probe.answers[i]) for probe in probes]))
    told = f"those {len(probes)} integers tell {_signatures(probes)} of {len(engines)} engines apart"
    return [*lines, "", f"The answer changes on {other_answer.sum()} of {count} images, yet {told}."]


def _firmware(net: Network) -> list[str]:
    """The network as C: proved, and what it costs where the optional compiler and emulator are installed."""
    source = emit_c(net)
    verdict = verify_c(source, net)
    lines = [
        f"As C99 for a Cortex-M0, {len(source.splitlines())} lines by intnn emit: no float, no division, no library;",
        f"  {verdict.status} by intnn verify, for every input, with {' and '.join(verdict.models)}: "
        "outputs as specified,",
        "  no overflow, nothing that C leaves undefined or to the implementation;",
    ]
    try:
        cost = network_cost(net, source, compiler="zig")
    except UsageError as error:  # an optional extra
        return [*lines, f"  its cost is not known here: {error.found}"]
    return [
        *lines,
        f"  {cost.flash} bytes of flash, {cost.ram} bytes of RAM, {cost.cycles} cycles an image, "
        f"{cost.cycles_per_mac:.1f} a multiply-accumulate,",
        f"  by intnn cost on the emulated core with {cost.compiler} {cost.version}, -O{cost.optimize}",
    ]


def _row(engine: str, profile: str, changed: str, cells: list[str]) -> str:
    return f"  {engine:34}{profile:10}{changed:>13}" + "".join(f"{cell:>12}" for cell in cells)
