"""Trained parameters and the floats they stand for.

Training steps are as long for one parameter as for another, so parameters are kept where one step means as much for
all: inputs centred and of spread 1, rows of weights of a common size. The floats of a layer are

    weights = w * row / column
    bias    = b * row + offset - weights @ mean
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from intnn.floats.network import FloatNetwork, Floats
from intnn.qat.data import Data


class Units(NamedTuple):
    """``mean`` and ``column`` (inputs,) are mean and spread of the layer's input; ``row`` and ``offset`` (outputs,)
    spread and mean of its output."""

    mean: Floats
    column: Floats
    row: Floats
    offset: Floats

    def dense(self, w: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Weights and bias of the floats."""
        weights = w * self.row[:, None] / self.column
        return weights, b * self.row + self.offset - weights @ self.mean

    def parameters(self, weights: Floats, rounded: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """``w`` and ``b``: the other way round, with the bias that goes with ``rounded`` weights."""
        return weights * self.column / self.row[:, None], (bias + rounded @ self.mean - self.offset) / self.row


def standard(sizes: tuple[int, ...], data: Data) -> tuple[Units, ...]:
    """The units of a network that sees standardised inputs and outputs."""
    units = [Units(np.zeros(i), np.ones(i), np.ones(o), np.zeros(o)) for i, o in pairwise(sizes)]
    units[0] = units[0]._replace(mean=data.x_mean, column=data.x_spread)
    units[-1] = units[-1]._replace(row=data.y_spread, offset=data.y_mean)
    return tuple(units)


def relative(net: FloatNetwork, data: Data) -> tuple[Units, ...]:
    """The units in which the largest weight of every row of ``net`` is 1, so that a step is as long on every grid."""
    units = []
    values = net.trace(data.inputs[data.training])
    for i, layer in enumerate(net.layers):
        size = layer.weights.shape[1]
        # Only the input is centred: behind a ReLU the zero point is where values begin.
        mean = data.x_mean if i == 0 else np.zeros(size)
        column = data.x_spread if i == 0 else np.full(size, max(float(np.sqrt(np.mean(values[i] ** 2))), 1e-30))
        row = np.abs(layer.weights * column).max(axis=1)
        row[row == 0] = row.max() or 1.0
        units.append(Units(mean, column, row, np.zeros(len(row))))
    return tuple(units)
