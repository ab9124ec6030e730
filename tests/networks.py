"""Hypothesis strategies for the tests: small networks with every feature of the specification."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from intnn import Q31, Activation, Dense, Fixed, Network, Scales, prove
from intnn.foreign import FOREIGN, Foreign
from intnn.model import ROUNDINGS, TYPES

TIE_FRIENDLY = st.sampled_from([1 << 30, 3 << 29, 5 << 28, (1 << 31) - 1, 1518500250])


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


def maybe_per_channel(draw: st.DrawFn, values: st.SearchStrategy[int], outputs: int) -> Any:
    """One value, or an array of one for each output."""
    if draw(st.booleans()):
        return draw(values)
    return np.array(draw(st.lists(values, min_size=outputs, max_size=outputs)), np.int64)


@st.composite
def fixed_rules(draw: st.DrawFn, outputs: int) -> Fixed:
    """A fixed rule with shifts that suit small networks and any permitted rounding constants."""
    shift = maybe_per_channel(draw, st.integers(0, 20), outputs)
    pre_shift = draw(st.integers(0, 6))
    limit = int(np.min((1 << np.asarray(shift)) - 1))
    return Fixed(
        shift,
        draw(st.sampled_from([0, limit, (limit + 1) // 2]) | st.integers(0, limit)),
        maybe_per_channel(draw, st.integers(1, 4096), outputs),
        pre_shift,
        draw(st.integers(0, (1 << pre_shift) - 1)),
    )


@st.composite
def q31_rules(draw: st.DrawFn, outputs: int) -> Q31:
    """A q31 rule of either shift direction, with multipliers that make ties."""
    multiplier = maybe_per_channel(draw, TIE_FRIENDLY | st.integers(1 << 30, (1 << 31) - 1) | st.just(0), outputs)
    return Q31(multiplier, maybe_per_channel(draw, st.integers(-14, 3), outputs), draw(st.sampled_from(ROUNDINGS)))


@st.composite
def all_scales(draw: st.DrawFn, outputs: int) -> Scales:
    """Scales whose product over quotient lies well within [2^-32, 256)."""
    scale = st.floats(2.0**-7, 1, width=32)
    weights: Any = draw(scale)
    if draw(st.booleans()):
        weights = np.array(draw(st.lists(scale, min_size=outputs, max_size=outputs)))
    return Scales(draw(scale), weights, draw(scale))


@st.composite
def networks(draw: st.DrawFn, *, foreign: bool = False, most_inputs: int = 6) -> Network:
    """A valid network of one to three layers; with ``foreign``, foreign profiles are among the rules."""
    sizes = draw(st.lists(st.integers(1, most_inputs), min_size=2, max_size=4))
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
                draw(all_scales(outputs)) if foreign else None,
            )
        )
    net = Network(draw(activations()), tuple(layers))
    return net if prove(net).valid else _calmer(net)


def _calmer(net: Network) -> Network:
    """The same shapes under a rule that always fits, so that no example is thrown away."""
    layers = [Dense(v.weights, v.bias, Fixed.half_up(12, 3, 4), v.output, v.scales) for v in net.layers]
    return Network(net.input, tuple(layers))


@st.composite
def inputs_for(draw: st.DrawFn, net: Network, rows: int = 8) -> np.ndarray[Any, Any]:
    """(rows, inputs) int64 within the declared range, its ends among them."""
    low, high = net.input.min, net.input.max
    value = st.sampled_from([low, high, min(max(0, low), high)]) | st.integers(low, high)
    count = rows * net.sizes[0]
    return np.array(draw(st.lists(value, min_size=count, max_size=count)), np.int64).reshape(rows, -1)


@st.composite
def cases(draw: st.DrawFn, *, foreign: bool = False) -> tuple[Network, np.ndarray[Any, Any]]:
    """A network and a batch for it."""
    net = draw(networks(foreign=foreign))
    return net, draw(inputs_for(net))
