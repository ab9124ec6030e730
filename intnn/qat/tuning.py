"""Quantization-aware training: the floats behind an integer network, tuned by what the integers compute."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from intnn.floats.meaning import encode
from intnn.floats.quantize import Quantized
from intnn.model import Network
from intnn.qat import phase
from intnn.qat.data import Data
from intnn.qat.floating import loss_of
from intnn.qat.options import LANE, Options, Report
from intnn.qat.state import Array, Checkpoint
from intnn.qat.twin import Integers, Twin
from intnn.qat.units import relative

GRID_RATE, SCALE_RATE = 0.3, 1.0
"""How fast the steps of weights and of outputs are learnt, beside weights. Each change of a grid rounds its whole row
anew, so grids are to move slowly."""

BUDGET = 0.1
"""What exceeding a row's budget weighs in the loss."""


def tune(
    start: Quantized, data: Data, options: Options, checkpoint: Checkpoint, report: Report | None
) -> tuple[Network, Array]:
    """The integer network of the least validation loss on the way from ``start``, and the history."""
    twin = Twin(start, relative(start.floats, data), LANE if options.lanes else None)
    x = encode(start.network, data.x).astype(np.int32)
    target, measure = data.target, loss_of(data)
    held, held_target = jnp.asarray(x[data.validation]), jnp.asarray(target[data.validation])
    optimizer = phase.adam(options.qat_learning_rate, options.qat_steps)
    rates = twin.rates(GRID_RATE, SCALE_RATE)

    def loss(params: Any, given: Integers, x: Any, target: Any) -> tuple[Any, Any]:
        _, y, excess = twin.outputs(params, given, x)
        found = measure(y, target)
        return found + BUDGET * excess, found

    def step(params: Any, moments: Any, given: Integers, x: Any, target: Any) -> Any:
        gradient, found = jax.grad(loss, has_aux=True)(params, given, x, target)
        updates, moments = optimizer.update(gradient, moments)
        return params + rates * updates, moments, found

    compiled = jax.jit(step)
    validated = jax.jit(lambda *given: loss(*given)[1])

    def advance(params: Any, moments: Any, first: int, count: int) -> tuple[Any, Any, float]:
        found = []
        for chosen in data.batches(options.seed, 1, options.batch, first, count):
            given = twin.integers(np.asarray(params))
            params, moments, value = compiled(params, moments, given, x[chosen], target[chosen])
            found.append(value)
        return params, moments, float(np.mean(found))

    state = phase.run(
        "integer",
        options.qat_steps,
        twin.initial(),
        optimizer,
        advance,
        lambda params: float(validated(params, twin.integers(params), held, held_target)),
        options,
        checkpoint,
        report,
    )
    return twin.network(state.best), state.history
