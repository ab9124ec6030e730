"""What the specification answers to a question."""

from __future__ import annotations

import numpy as np

from intnn import engines, interpreter
from intnn.conform.device import Int64, Question
from intnn.model import Network

ROWS = 1024  # at once, so that many inputs of a wide network fit into memory


def answers(net: Network, question: Question, rows: Int64) -> Int64:
    """The right answers to ``rows`` (n, size), int64 (n, outputs), by the reference interpreter [network.run].

    Rows lie in the range of what is asked: the declared range, a layer's input, or the accumulators that
    :func:`intnn.prove` found for the neuron.
    """
    layer, outputs = net.layers[question.layer], question.size(net)[1]
    if question.operation == "requantize":
        return np.asarray(interpreter.requantize(rows.astype(np.int32), layer.neurons([question.neuron])), np.int64)
    if question.operation == "dense":
        net = Network(net.inputs[question.layer], (layer,))
    parts = [np.zeros((0, outputs), np.int64)]
    for at in range(0, len(rows), ROWS):
        some = rows[at : at + ROWS]
        if question.operation == "layer":
            parts.append(engines.trace(net, some)[question.layer].output.astype(np.int64))
        else:
            parts.append(engines.run(net, some).astype(np.int64))
    return np.concatenate(parts)
