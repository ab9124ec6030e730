"""One phase of a training: steps, validations, the best parameters kept, the state written, patience."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from intnn.qat.options import Options, Progress, Report, diverged
from intnn.qat.state import Array, Checkpoint, State

Advance = Callable[[Any, Any, int, int], tuple[Any, Any, float]]
"""From parameters, optimizer state, first step and number of steps to new ones and the mean loss."""


def adam(rate: float, steps: int) -> Any:
    """Adam with a cosine decay to nothing, so that the last steps settle."""
    return optax.adam(optax.cosine_decay_schedule(rate, max(steps, 1)))


def run(
    name: str,
    steps: int,
    start: Array,
    optimizer: Any,
    advance: Advance,
    validate: Callable[[Array], float],
    options: Options,
    checkpoint: Checkpoint,
    report: Report | None,
) -> State:
    """The state after ``steps`` steps from the parameters ``start``, or after ``options.patience`` validations without
    a better one. Raises :class:`ModelError` ``train.diverged``, and what ``report`` raises."""
    structure = jax.tree.structure(optimizer.init(start))
    state = checkpoint.phases.get(name)
    if state is None:
        moments = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(optimizer.init(start)))
        state = State(0, start, moments, start, validate(start), 0, np.empty((0, 3)))
    params, moments = jax.numpy.asarray(state.params), jax.tree.unflatten(structure, state.optimizer)
    while state.step < steps and (options.patience is None or state.stale < options.patience):
        count = min(options.every, steps - state.step)
        params, moments, loss = advance(params, moments, state.step, count)
        now = np.array(params)
        found = validate(now) if math.isfinite(loss) else math.nan
        if not math.isfinite(found):
            raise diverged(f"the loss is {loss} after {state.step + count} {name} steps")
        better = found < state.least
        state = State(
            step=state.step + count,
            params=now,
            optimizer=tuple(np.array(leaf) for leaf in jax.tree.leaves(moments)),
            best=now if better else state.best,
            least=found if better else state.least,
            stale=0 if better else state.stale + 1,
            history=np.vstack([state.history, [state.step + count, loss, found]]),
        )
        checkpoint.keep(name, state)
        if report is not None:
            report(Progress(name, state.step, steps, loss, found, state.least))
    return state
