"""Fault models as mutants of the reference: what a device answers that makes a given mistake.

A :class:`Fault` changes the :class:`intnn.conform.beats.Beats` of one layer or of all. Its ``id`` is a model's name,
``@`` and the layer (``*``: every layer where it has a meaning), and for a fault of one neuron ``[o]`` or ``[o,i]``:
``rounding.half-away@1``, ``bias.missing@*``, ``bias.plus-one@1[5]``. Faults compose: any sequence makes a mutant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from intnn.bounds import require_valid
from intnn.conform.beats import Beats, beats_of, same
from intnn.conform.device import Int64
from intnn.conform.fault_changes import meaningful
from intnn.conform.fault_models import MODELS, NEURON_MODELS, FaultModel, NeuronModel
from intnn.errors import UsageError
from intnn.model import IntArray, Network

_BLOCK = 1 << 16  # integers of a layer in a block of rows: what the processor's cache holds
_MOST_WEIGHTS = 1 << 13  # networks with more weights get no faults of single weights: there would be too many
_ID = re.compile(r"(?P<name>[a-z0-9.-]+)@(?P<layer>\d+|\*)(\[(?P<o>\d+)(,(?P<i>\d+))?\])?", re.ASCII)


@dataclass(frozen=True)
class Fault:
    """A mistake a device may make: ``id``, ``text`` in words, the ``stage`` of the layer it is made in (``input``,
    ``accumulate``, ``requantize``, ``clamp``, ``output``) and the ``layer``, ``None`` for every layer.

    ``change`` takes a layer's beats to those with the mistake, or to ``None`` where it has no meaning.
    """

    id: str
    text: str
    stage: str
    layer: int | None
    change: Callable[[Beats], Beats | None] = field(repr=False, compare=False)

    @property
    def first(self) -> int:
        """The first layer it may change."""
        return self.layer or 0


def catalogue(net: Network) -> tuple[Fault, ...]:
    """All single faults of whole layers: of each layer where they change anything, and of every layer at once where
    there are two such layers or more; the likelier first.

    Left out is only what surely leaves a layer as it is. Raises :class:`ModelError` ``model.overflow``.
    """
    if net not in _catalogues:
        _catalogues[net] = tuple(_catalogue(net))
    return _catalogues[net]


_catalogues: WeakKeyDictionary[Network, tuple[Fault, ...]] = WeakKeyDictionary()
_beats: WeakKeyDictionary[Network, tuple[Beats, ...]] = WeakKeyDictionary()


def neuron_faults(net: Network) -> tuple[Fault, ...]:
    """All faults of one neuron: a bias off by one, and in networks of at most 8,192 weights also a weight that is off
    by one, of the wrong sign or missing."""
    weights = sum(layer.weights.size for layer in net.layers)
    found = []
    for model in NEURON_MODELS:
        if model.inputs and weights > _MOST_WEIGHTS:
            continue
        for number, layer in enumerate(net.layers):
            for o in range(len(layer.bias)):
                for i in range(layer.weights.shape[1]) if model.inputs else (0,):
                    if not (model.inputs and model.name in _WITHOUT_ZERO and layer.weights[o, i] == 0):
                        found.append(_of_neuron(model, number, o, i))
    return tuple(found)


_WITHOUT_ZERO = ("weights.negated", "weights.zero")  # a weight of 0 is neither missing nor of the wrong sign


def parse(net: Network, id: str) -> Fault:
    """The fault of that ``id`` in ``net``; raises :class:`UsageError` ``usage.fault`` where there is none."""
    if match := _ID.fullmatch(id):
        layer = None if match["layer"] == "*" else int(match["layer"])
        if match["o"] is None:
            for model in MODELS:
                if model.name == match["name"] and _layers(net, model, layer):
                    return _of_layers(model, layer)
        else:
            o, i = int(match["o"]), match["i"]
            for neuron_model in NEURON_MODELS:
                if neuron_model.name == match["name"] and neuron_model.inputs == (i is not None):
                    shape = net.layers[layer].weights.shape if layer is not None and layer < len(net.layers) else (0, 0)
                    if o < shape[0] and int(i or 0) < shape[1]:
                        return _of_neuron(neuron_model, layer or 0, o, int(i or 0))
    raise UsageError(
        "usage.fault",
        f"no fault {id!r} of this network",
        expected="a fault's name, @ and a layer where it changes something, such as bias.missing@0 or bias.missing@*",
    )


def _catalogue(net: Network) -> Iterator[Fault]:
    for model in MODELS:
        layers = _layers(net, model, None)
        yield from (_of_layers(model, layer) for layer in layers)
        if len(layers) > 1:
            yield _of_layers(model, None)


def _layers(net: Network, model: FaultModel, layer: int | None) -> list[int]:
    """The layers among those asked for in which the model has a meaning and changes something."""
    proofs = require_valid(net).layers
    found = []
    for number, beats in enumerate(specified(net)):
        if layer in (None, number):
            after = model.change(beats)
            if after is not None and meaningful(beats, after, proofs[number]) and not same(beats, after):
                found.append(number)
    return found


def _of_layers(model: FaultModel, layer: int | None) -> Fault:
    place, words = ("*", "every layer") if layer is None else (str(layer), f"layer {layer}")
    return Fault(f"{model.name}@{place}", f"{words} {model.verb}", model.stage, layer, model.change)


def _of_neuron(model: NeuronModel, layer: int, o: int, i: int) -> Fault:
    index = f"[{o},{i}]" if model.inputs else f"[{o}]"
    text = f"layer {layer} {model.verb.format(o=o, i=i)}"
    return Fault(f"{model.name}@{layer}{index}", text, "accumulate", layer, lambda b: model.change(b, o, i))


def specified(net: Network) -> tuple[Beats, ...]:
    """The beats of every layer as the specification has them; always the same objects for the same network."""
    if net not in _beats:
        _beats[net] = beats_of(net)
    return _beats[net]


def mutant(net: Network, faults: Sequence[Fault]) -> tuple[Beats, ...]:
    """The beats of every layer of a device with ``faults``, made in that order; untouched layers are those of
    :func:`specified`. A fault without meaning in a layer, perhaps because of one before it, does nothing there."""
    layers = list(specified(net))
    for fault in faults:
        for number in range(len(layers)) if fault.layer is None else (fault.layer,):
            layers[number] = fault.change(layers[number]) or layers[number]
    return tuple(layers)


def outputs(net: Network, faults: Sequence[Fault], x: IntArray, *, start: int = 0) -> Int64:
    """What a device with ``faults`` answers: int64 (batch, outputs).

    ``x`` is (batch, inputs), the input of layer ``start`` (of the network, if 0), each value of its declared type. With
    no faults this is :func:`intnn.run`, bit for bit [network.run].
    """
    y: IntArray = np.asarray(x)
    for beats in mutant(net, faults)[start:]:
        y = execute(beats, y)[1]
    return y.astype(np.int64)


def trace(net: Network, faults: Sequence[Fault], x: IntArray) -> list[tuple[Int64, Int64]]:
    """Every layer's accumulators, as the device holds them, and outputs: int64, (batch, outputs) each."""
    y: IntArray = np.asarray(x)
    layers = []
    for beats in mutant(net, faults):
        acc, y = execute(beats, y)
        layers.append((acc.astype(np.int64), y.astype(np.int64)))
    return layers


def execute(beats: Beats, x: IntArray, acc: IntArray | None = None) -> tuple[npt.NDArray[np.int32], IntArray]:
    """One layer on its input ``x`` (batch, inputs): accumulators (those given, if any) and outputs, (batch, outputs) of
    int32, in blocks of rows that stay in the processor's cache."""
    n = len(beats.bias)
    rows = max(1, _BLOCK // max(beats.weights.shape))
    sums = np.empty((len(x), n), np.int32)
    y = np.empty((len(x), n), np.int32)
    for at in range(0, len(x), rows):
        block = slice(at, at + rows)
        held = beats.accumulate(x[block]) if acc is None else acc[block].astype(np.int64)
        sums[block], y[block] = held, beats.finish(held)
    return sums, y


class Mutants:
    """The mutants of a network on fixed rows: the specification is traced once, and a mutant is run only from its first
    fault on, and beyond its faults only on the rows that it has changed by then.

    ``x`` (batch, inputs) is as for :func:`outputs`; ``expected`` int64 (batch, outputs) are the right answers.
    """

    def __init__(self, net: Network, x: IntArray) -> None:
        self.net = net
        self.x = np.asarray(x)
        self._layers = specified(net)
        self.inputs: list[IntArray] = [self.x]
        self._acc = []
        for beats in self._layers:
            acc, y = execute(beats, self.inputs[-1])
            self._acc.append(acc)
            self.inputs.append(y)
        self.expected: Int64 = self.inputs[-1].astype(np.int64)

    def outputs(self, faults: Sequence[Fault]) -> Int64:
        """What a device with ``faults`` answers to the rows: int64 (batch, outputs)."""
        layers = mutant(self.net, faults)
        changed = [k for k, (mine, right) in enumerate(zip(layers, self._layers, strict=True)) if mine is not right]
        rows = np.arange(0)  # those that the faults have changed by now
        y: IntArray = self.x[:0]  # and the input of layer k in them
        for k in range(changed[0] if changed else len(layers), len(layers)):
            beats, right = layers[k], self._layers[k]
            if beats is not right:  # any row may change
                x = self.inputs[k]
                if len(rows):
                    x = x.copy()
                    x[rows] = y
                unmoved = not len(rows) and beats.accumulates_as(right)
                out = execute(beats, x, self._acc[k] if unmoved else None)[1]
                rows = np.flatnonzero((out != self.inputs[k + 1]).any(axis=1))
                y = out[rows]
            elif len(rows):
                out = execute(beats, y)[1]
                moved = (out != self.inputs[k + 1][rows]).any(axis=1)
                rows, y = rows[moved], out[moved]
        result = self.expected.copy()
        if len(rows):
            result[rows] = y
        return result
