"""Where on an input a device first differs: layer, neuron and stage, as far as it shows or lets infer them."""

from __future__ import annotations

import numpy as np

from intnn import engines
from intnn.conform import faults
from intnn.conform.device import Device, Int64, Question
from intnn.conform.expected import answers
from intnn.conform.verdict import Diagnosis, Explanation, Location
from intnn.interpreter import LayerTrace
from intnn.model import Q31, Dense, Fixed, Network


def rule_text(layer: Dense, neuron: int) -> str:
    """The requantization of one neuron in words, with its constants."""

    def of(value: object) -> int:
        return int(np.broadcast_to(np.asarray(value), layer.bias.shape)[neuron])

    match layer.requantize:
        case Fixed() as r:
            before = f"pre_round {of(r.pre_round)}, pre_shift {of(r.pre_shift)}, " if np.any(r.pre_shift) else ""
            return f"fixed: {before}multiplier {of(r.multiplier)}, round {of(r.round)}, shift {of(r.shift)}"
        case Q31() as r:
            e = of(r.exponent)
            return f"q31 {r.rounding}: multiplier {of(r.multiplier)}, exponent {e}, total right shift {31 - e}"
        case host:
            real = np.broadcast_to(host.real_scale(layer), layer.bias.shape)[neuron]
            return f"{host.profile}: real scale about {float(real):.9g}"


def locate(
    net: Network, device: Device, question: Question, x: Int64, got: Int64, diagnosis: Diagnosis | None
) -> Location | None:
    """The first place where the device's answer ``got`` to the input ``x`` (inputs,) parts from the specification.

    A device that offers the operation ``layer`` is asked for each layer's outputs, and one that offers ``requantize``
    for the neuron's requantization alone: then the place is observed. Otherwise the best explanation that fits says
    it. ``None`` where nothing tells.
    """
    best = _best(diagnosis)
    if question.operation == "requantize":
        rule = rule_text(net.layers[question.layer], question.neuron)
        right = int(answers(net, question, x[None, :])[0, 0])
        return Location(question.layer, question.neuron, "requantize", True, int(x[0]), rule, right, int(got[0]))
    if question.operation == "dense":
        alone = Network(net.inputs[question.layer], (net.layers[question.layer],))
        return _place(net, device, question.layer, engines.trace(alone, x)[0], got, best, observed=True)
    trace = engines.trace(net, x)
    if question.operation == "layer":
        return _place(net, device, question.layer, trace[question.layer], got, best, observed=True)
    if "layer" in device.operations:
        for k in range(len(net.layers) - 1):
            answer = device.ask(Question("layer", k), x[None, :])
            if not answer.answered[0]:
                break
            if (answer.outputs[0] != trace[k].output).any():
                return _place(net, device, k, trace[k], answer.outputs[0], best, observed=True)
        else:
            return _place(net, device, len(net.layers) - 1, trace[-1], got, best, observed=True)
    if len(net.layers) == 1:
        return _place(net, device, 0, trace[0], got, best, observed=True)
    if best is None:
        return None
    explained = faults.trace(net, [faults.parse(net, name) for name in best.faults], x[None, :])
    for k, (_, output) in enumerate(explained):
        if (output[0] != trace[k].output).any():
            return _place(net, device, k, trace[k], output[0], best, observed=False)
    return None


def _best(diagnosis: Diagnosis | None) -> Explanation | None:
    """The best explanation, if it explains everything by some fault."""
    if diagnosis is None or not diagnosis.explanations:
        return None
    best = diagnosis.explanations[0]
    return best if best.complete and best.faults else None


def _place(
    net: Network,
    device: Device,
    k: int,
    right: LayerTrace,
    got: Int64,
    best: Explanation | None,
    *,
    observed: bool,
) -> Location:
    neuron = int(np.flatnonzero(np.asarray(right.output, np.int64) != got)[0])
    acc, expected = int(right.acc[neuron]), int(right.output[neuron])
    stage = best.stage if best is not None and best.layer in (None, k) else "unknown"
    if "requantize" in device.operations:
        answer = device.ask(Question("requantize", k, neuron), np.array([[acc]]))
        if answer.answered[0] and answer.outputs[0, 0] != expected:
            stage = "requantize"
        elif answer.answered[0] and stage != "input":
            stage = "accumulate"
    rule = rule_text(net.layers[k], neuron)
    return Location(k, neuron, stage, observed, acc, rule, expected, int(got[neuron]))
