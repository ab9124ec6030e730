"""Which of the neighbouring steps of its grid a weight is rounded to.

The nearest is best for one weight alone, not for the sum it goes into: where two inputs rise and fall together, an
error of one weight can be undone by the other. So from the nearest on, each neuron takes the one step up or down of
one weight that lowers its squared error on the samples most, as long as there is one.
"""

from __future__ import annotations

import numpy as np

from intnn.floats.network import Floats

SWEEPS = 8
"""The most moves of a neuron, for each of its weights; it comes to rest long before."""


def nearest(weights: Floats, grid: Floats, largest: int) -> Floats:
    """``weights`` (outputs, inputs) in steps of ``grid`` (outputs,), clipped to +-``largest``."""
    rounded: Floats = np.clip(np.rint(weights / grid[:, None]), -largest, largest)
    return rounded


def fitted(weights: Floats, grid: Floats, inputs: Floats, largest: int, *, centred: bool) -> Floats:
    """As :func:`nearest`, then moved to lower the squared error of the sums on ``inputs`` (batch, inputs).

    With ``centred`` a neuron's mean error does not count, because its bias makes up for it.
    """
    steps = nearest(weights, grid, largest)
    values = inputs - inputs.mean(axis=0) if centred else inputs
    moment = values.T @ values / len(values)
    # The squared error of a neuron is e @ moment @ e for its weights' errors e; one step of weight j changes it by
    # +-2 grid (moment @ e)_j + grid^2 moment_jj.
    slope = (steps * grid[:, None] - weights) @ moment
    square = grid[:, None] ** 2 * np.diag(moment)
    rows = np.arange(len(weights))
    for _ in range(SWEEPS * weights.shape[1]):
        change = 2 * grid[:, None] * slope
        up = np.where(steps < largest, square + change, np.inf)
        down = np.where(steps > -largest, square - change, np.inf)
        best = np.minimum(up, down).argmin(axis=1)
        gain = np.minimum(up, down)[rows, best]
        # A gain that rounding of floats could feign is none; without it the moves could go round in circles.
        moves = gain < -1e-9 * square[rows, best]
        if not moves.any():
            break
        step = np.where(up[rows, best] <= down[rows, best], 1.0, -1.0) * moves
        steps[rows, best] += step
        slope += (step * grid)[:, None] * moment[best]
    return steps
