"""Training in floats: Adam on standardised data, a chunk of steps in one call."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from intnn.floats.network import FloatDense, FloatNetwork
from intnn.qat import phase
from intnn.qat.data import Data
from intnn.qat.options import Options, Report
from intnn.qat.state import Array, Checkpoint
from intnn.qat.units import standard


def loss_of(data: Data) -> Any:
    """The loss of outputs (batch, outputs), real values, for targets as ``data.target`` has them."""
    if data.loss == "cross-entropy":
        return lambda y, target: optax.softmax_cross_entropy_with_integer_labels(y, target).mean()
    spread = data.y_spread.astype(np.float32)
    return lambda y, target: jnp.mean(((y - target) / spread) ** 2)


def initial(sizes: tuple[int, ...], seed: int) -> FloatNetwork:
    """A network with random weights (He's normal distribution), no biases, and ReLU between its layers."""
    rng = np.random.default_rng((seed, 3))
    pairs = list(pairwise(sizes))
    return FloatNetwork(
        tuple(
            FloatDense(rng.normal(0, np.sqrt(2 / i), (o, i)), np.zeros(o), 0.0 if n < len(pairs) - 1 else -np.inf)
            for n, (i, o) in enumerate(pairs)
        )
    )


def fit(
    start: FloatNetwork, fresh: bool, data: Data, options: Options, checkpoint: Checkpoint, report: Report | None
) -> tuple[FloatNetwork, Array]:
    """The network of the least validation loss on the way from ``start``, and the history; ``fresh`` weights are in
    standard units."""
    units = standard(start.sizes, data)
    tree = [
        (layer.weights, layer.bias) if fresh else unit.parameters(layer.weights, layer.weights, layer.bias)
        for unit, layer in zip(units, start.layers, strict=True)
    ]
    flat, _ = jax.flatten_util.ravel_pytree(jax.tree.map(lambda a: np.asarray(a, np.float32), tree))
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree))
    x = jnp.asarray((data.inputs - data.x_mean) / data.x_spread, jnp.float32)
    target, measure = jnp.asarray(data.target), loss_of(data)
    held, held_target = x[data.validation], target[data.validation]
    optimizer = phase.adam(options.learning_rate, options.float_steps)

    def outputs(params: Any, values: Any) -> Any:
        for (w, b), unit, layer in zip(unravel(params), units, start.layers, strict=True):
            scaled = (values @ w.T + b) * unit.row.astype(np.float32) + unit.offset.astype(np.float32)
            values = jnp.clip(scaled, layer.min, layer.max)
        return values

    def loss(params: Any, x: Any, target: Any) -> Any:
        return measure(outputs(params, x), target)

    def chunk(carry: Any, order: Any, x: Any, target: Any) -> Any:
        def step(carry: Any, chosen: Any) -> Any:
            params, moments = carry
            value, gradient = jax.value_and_grad(loss)(params, x[chosen], target[chosen])
            updates, moments = optimizer.update(gradient, moments)
            return (params + updates, moments), value

        return jax.lax.scan(step, carry, order)

    # Data are arguments, not constants: those would be compiled in.
    compiled, validated = jax.jit(chunk), jax.jit(loss)

    def advance(params: Any, moments: Any, first: int, count: int) -> tuple[Any, Any, float]:
        order = np.stack(list(data.batches(options.seed, 0, options.batch, first, count)))
        (params, moments), values = compiled((params, moments), order.astype(np.int32), x, target)
        return params, moments, float(values.mean())

    state = phase.run(
        "float",
        options.float_steps,
        np.asarray(flat),
        optimizer,
        advance,
        lambda params: float(validated(params, held, held_target)),
        options,
        checkpoint,
        report,
    )
    best = [
        unit.dense(np.asarray(w, np.float64), np.asarray(b, np.float64))
        for unit, (w, b) in zip(units, unravel(jnp.asarray(state.best)), strict=True)
    ]
    layers = [FloatDense(w, b, old.min, old.max) for (w, b), old in zip(best, start.layers, strict=True)]
    return FloatNetwork(tuple(layers), start.name), state.history
