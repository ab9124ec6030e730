"""Which of the two steps around it a weight is rounded to.

The nearest is best for one weight alone, not for the sum it goes into: where two inputs rise and fall together, an
error of one weight can be undone by the other. So from the nearest on, each neuron rounds that weight the other way
which lowers its squared error on the samples most, as long as there is one.
"""

from __future__ import annotations

import numpy as np

from intnn.floats.network import Floats

PARTS = np.geomspace(1.0, 0.05, 60)
"""Of the grid that clips nothing: the ones to try."""

SWEEPS = 8
"""The most moves of a neuron, for each of its weights; it comes to rest long before."""


def nearest(weights: Floats, grid: Floats, largest: int) -> Floats:
    """``weights`` (outputs, inputs) in steps of ``grid`` (outputs,), clipped to +-``largest``."""
    rounded: Floats = np.clip(np.rint(weights / grid[:, None]), -largest, largest)
    return rounded


def moment(inputs: Floats, *, centred: bool) -> Floats:
    """What turns errors of weights into those of sums: a neuron whose weights are off by e has, on ``inputs`` (batch,
    inputs), the squared error ``e @ moment @ e``; with ``centred``, about its mean, for which a bias can make up."""
    values = inputs - inputs.mean(axis=0) if centred else inputs
    squares: Floats = values.T @ values / len(values)
    return squares


def best_grid(weights: Floats, grid: Floats, moment: Floats, largest: int, *, per_channel: bool) -> Floats:
    """The grid (outputs,), at most as coarse as ``grid``, on which the nearest steps have the least squared error.

    A finer one clips the largest weights, which pays where they meet inputs that hardly vary.
    """
    best, least = grid, np.full(len(grid), np.inf)
    for part in PARTS:
        off = nearest(weights, part * grid, largest) * (part * grid)[:, None] - weights
        error = ((off @ moment) * off).sum(axis=1)
        error = error if per_channel else np.full_like(error, error.sum())
        best, least = np.where(error < least, part * grid, best), np.minimum(error, least)
    return best


def fitted(weights: Floats, grid: Floats, moment: Floats, largest: int) -> Floats:
    """``weights`` in steps, each rounded up or down, so that the squared error of each neuron's sums is low."""
    steps, exact = nearest(weights, grid, largest), weights / grid[:, None]
    # One step of weight j changes e @ moment @ e by +-2 grid (moment @ e)_j + grid^2 moment_jj.
    slope = (steps * grid[:, None] - weights) @ moment
    square = grid[:, None] ** 2 * np.diag(moment)
    rows = np.arange(len(weights))
    for _ in range(SWEEPS * weights.shape[1]):
        change = 2 * grid[:, None] * slope
        up = np.where((steps < exact) & (steps < largest), square + change, np.inf)
        down = np.where((steps > exact) & (steps > -largest), square - change, np.inf)
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
