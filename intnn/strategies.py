"""Hypothesis strategies for the tests of implementers: networks with every feature of the specification, and inputs and
accumulators at which wrong implementations of a given network differ from it.

    from hypothesis import given
    from intnn import load, run, strategies

    net = load("model.json")

    @given(strategies.inputs(net))
    def test_my_function(x):
        assert my_function(x[0]) == run(net, x)[0].tolist()
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from intnn.bounds import prove, require_valid
from intnn.conform import construct
from intnn.conform.reach import TIES, stages
from intnn.foreign import FOREIGN, Foreign
from intnn.model import Q31, ROUNDINGS, TYPES, Activation, Dense, Fixed, Network, Scales

Int64 = npt.NDArray[np.int64]

__all__ = [
    "accumulators",
    "activations",
    "cases",
    "fixed_rules",
    "inputs",
    "networks",
    "q31_rules",
    "random_inputs",
    "scales",
    "steps",
    "ties",
]

_TIE_FRIENDLY = st.sampled_from([1 << 30, 3 << 29, 5 << 28, (1 << 31) - 1, 1518500250])


@st.composite
def activations(draw: st.DrawFn) -> Activation:
    """Any activation: often the type's own range, often a ReLU."""
    name = draw(st.sampled_from(sorted(TYPES)))
    low, high = TYPES[name]
    zero = draw(st.sampled_from([low, high]) | st.integers(low, high))
    bounds = draw(
        st.sampled_from([(low, high), (zero, high)])
        | st.lists(st.integers(low, high), min_size=2, max_size=2).map(sorted).map(tuple)
    )
    return Activation(name, zero, *bounds)


def _maybe_per_channel(draw: st.DrawFn, values: st.SearchStrategy[int], outputs: int) -> Any:
    """One value, or an array of one for each output."""
    if draw(st.booleans()):
        return draw(values)
    return np.array(draw(st.lists(values, min_size=outputs, max_size=outputs)), np.int64)


@st.composite
def fixed_rules(draw: st.DrawFn, outputs: int) -> Fixed:
    """A fixed rule with shifts that suit small networks and any permitted rounding constants."""
    shift = _maybe_per_channel(draw, st.integers(0, 20), outputs)
    pre_shift = draw(st.integers(0, 6))
    limit = int(np.min((1 << np.asarray(shift)) - 1))
    return Fixed(
        shift,
        draw(st.sampled_from([0, limit, (limit + 1) // 2]) | st.integers(0, limit)),
        _maybe_per_channel(draw, st.integers(1, 4096), outputs),
        pre_shift,
        draw(st.integers(0, (1 << pre_shift) - 1)),
    )


@st.composite
def q31_rules(draw: st.DrawFn, outputs: int) -> Q31:
    """A q31 rule of either shift direction, with multipliers that make ties."""
    multiplier = _maybe_per_channel(draw, _TIE_FRIENDLY | st.integers(1 << 30, (1 << 31) - 1) | st.just(0), outputs)
    return Q31(multiplier, _maybe_per_channel(draw, st.integers(-14, 3), outputs), draw(st.sampled_from(ROUNDINGS)))


@st.composite
def scales(draw: st.DrawFn, outputs: int) -> Scales:
    """Scales whose product over quotient lies well within [2^-32, 256)."""
    scale = st.floats(2.0**-7, 1, width=32)
    weights: Any = draw(scale)
    if draw(st.booleans()):
        weights = np.array(draw(st.lists(scale, min_size=outputs, max_size=outputs)))
    return Scales(draw(scale), weights, draw(scale))


@st.composite
def networks(draw: st.DrawFn, *, foreign: bool = False, most_inputs: int = 6, most_layers: int = 3) -> Network:
    """Valid networks [overflow.valid] of one to ``most_layers`` layers with at most ``most_inputs`` values each, with
    every rule and type of the specification; with ``foreign``, foreign profiles are among the rules."""
    sizes = draw(st.lists(st.integers(1, most_inputs), min_size=2, max_size=most_layers + 1))
    layers = []
    for inputs, outputs in pairwise(sizes):
        weight = st.sampled_from([-128, 127, 0, 1]) | st.integers(-128, 127)
        weights = draw(st.lists(weight, min_size=inputs * outputs, max_size=inputs * outputs))
        bias = st.integers(-(1 << 18), 1 << 18) | st.integers(-300, 300)
        rules: list[st.SearchStrategy[Any]] = [fixed_rules(outputs), q31_rules(outputs)]
        if foreign:
            rules.append(st.sampled_from(sorted(FOREIGN)).map(Foreign))
        layers.append(
            Dense(
                np.array(weights).reshape(outputs, inputs),
                np.array(draw(st.lists(bias, min_size=outputs, max_size=outputs))),
                draw(st.one_of(rules)),
                draw(activations()),
                draw(scales(outputs)) if foreign else None,
            )
        )
    net = Network(draw(activations()), tuple(layers))
    return net if prove(net).valid else _calmer(net)


def _calmer(net: Network) -> Network:
    """The same shapes under a rule that always fits, so that no example is thrown away."""
    layers = [Dense(v.weights, v.bias, Fixed.half_up(12, 3, 4), v.output, v.scales) for v in net.layers]
    return Network(net.input, tuple(layers))


@st.composite
def random_inputs(draw: st.DrawFn, net: Network, rows: int = 8) -> Int64:
    """Rows of values within the declared range [network.input], its ends and 0 more often than others: int64 of shape
    (``rows``, inputs)."""
    low, high = net.input.min, net.input.max
    value = st.sampled_from([low, high, min(max(0, low), high)]) | st.integers(low, high)
    count = rows * net.sizes[0]
    return np.array(draw(st.lists(value, min_size=count, max_size=count)), np.int64).reshape(rows, -1)


def inputs(net: Network, rows: int | None = None, *, constructed: int = 512, seed: int = 0) -> st.SearchStrategy[Int64]:
    """Inputs of ``net``, int64 of shape (``rows``, inputs), or (inputs,) if ``rows`` is not given: each row one of
    ``constructed`` rows made for the network (:func:`intnn.conform.construct.plan`, which takes seconds and is done
    once for each network), or a random one.

    Raises :class:`ModelError` ``model.overflow`` for a network that is not valid.
    """
    plan = construct.plan(net, constructed, seed).x
    row = st.integers(0, len(plan) - 1).map(lambda i: plan[i].copy()) | random_inputs(net, 1).map(lambda x: x[0])
    return row if rows is None else st.lists(row, min_size=rows, max_size=rows).map(np.stack)


def accumulators(net: Network, layer: int, neuron: int) -> st.SearchStrategy[int]:
    """Accumulators of a neuron, all within what the overflow proof allows [overflow.valid]: both sides of its steps,
    its ends, powers of two and their neighbours, and any others.

    Raises :class:`ModelError` ``model.overflow`` for a network that is not valid.
    """
    proof = require_valid(net).layers[layer]
    any_of = st.integers(int(proof.acc_low[neuron]), int(proof.acc_high[neuron]))
    return st.sampled_from(construct.accumulators(net, layer, neuron).tolist()) | any_of


def steps(net: Network, layer: int, neuron: int) -> st.SearchStrategy[int]:
    """Accumulators just below and just at the steps of a neuron's output, which show any other non-decreasing rule
    [overflow.endpoints]; nothing where its output never changes."""
    return _sampled(net, layer, neuron, range(2))


def ties(net: Network, layer: int, neuron: int) -> st.SearchStrategy[int]:
    """Accumulators of which the last rounding of a neuron's requantization is a tie that decides its output; nothing
    where there are none, as with most odd multipliers, with rounding constants other than one half, and with foreign
    rules."""
    return _sampled(net, layer, neuron, range(TIES, TIES + 4))


def _sampled(net: Network, layer: int, neuron: int, kinds: range) -> st.SearchStrategy[int]:
    stage = stages(net)[layer]
    found = sorted({acc for kind in kinds for acc in stage.targets(kind, neuron).tolist()})
    return st.sampled_from(found) if found else st.nothing()


@st.composite
def cases(draw: st.DrawFn, *, foreign: bool = False) -> tuple[Network, Int64]:
    """A network and eight random rows for it."""
    net = draw(networks(foreign=foreign))
    return net, draw(random_inputs(net))
