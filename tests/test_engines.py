"""run and trace: all engines agree with each other and with a plain-integer reading of the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings

from intnn import Q31, Activation, Dense, Fixed, Network, run, trace
from intnn.engines import ENGINES
from intnn.errors import InputError, ModelError, UsageError
from intnn.foreign import Foreign
from intnn.formats.native import document_of
from intnn.model import TYPES, Scales
from intnn.strategies import cases

ORACLE = oracle.Oracle()
Case = tuple[Network, np.ndarray[Any, Any]]


def tiny(**output: Any) -> Network:
    layer = Dense(np.array([[3, -2], [1, 1]]), np.array([5, -7]), Fixed.half_up(2), Activation(**output))
    return Network(Activation("int8", -1, -100, 100), (layer,))


@given(cases())
@settings(max_examples=150)
def test_every_engine_is_the_specification(case: Case) -> None:
    net, x = case
    traces = trace(net, x)
    for row, values in enumerate(x.tolist()):
        expected = ORACLE.run("network.run", {"model": document_of(net), "x": values})
        assert [t.acc[row].tolist() for t in traces] == expected["acc"]
        assert [t.output[row].tolist() for t in traces] == expected["y"]
    for engine in ENGINES:
        y = run(net, x, engine=engine)
        assert y.dtype == net.output.type
        assert y.tolist() == traces[-1].output.tolist()
    for plain, verified in zip(traces, trace(net, x, engine="checked"), strict=True):
        assert plain.acc.tolist() == verified.acc.tolist()
        assert plain.output.tolist() == verified.output.tolist()


@given(cases(foreign=True))
@settings(max_examples=150)
def test_fast_equals_reference_for_foreign_profiles_too(case: Case) -> None:
    net, x = case
    assert run(net, x, engine="fast").tolist() == run(net, x).tolist()


def test_one_vector_or_a_batch_or_none() -> None:
    net = tiny()
    single, batch = run(net, [1, 2]), run(net, [[1, 2], [3, 4]])
    assert single.shape == (2,)
    assert batch.shape == (2, 2)
    assert batch[0].tolist() == single.tolist()
    for engine in ENGINES:
        assert run(net, np.zeros((0, 2), np.int8), engine=engine).shape == (0, 2)
    assert [part.shape for part in trace(net, [1, 2])[0]] == [(2,), (2,)]


@pytest.mark.parametrize("name", sorted(TYPES))
def test_types_in_and_out(name: str) -> None:
    net = tiny(type=name, zero_point=7)
    traced = trace(net, np.array([[1, 2]], np.int8))[0]
    assert traced.acc.dtype == np.int32
    assert traced.output.dtype == name
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8):
        assert run(net, np.array([1, 2], dtype)).tolist() == traced.output[0].tolist()


@pytest.mark.parametrize(
    ("x", "code", "words"),
    [
        ([0.5, 1.0], "input.type", "float64"),
        ([True, False], "input.type", "bool"),
        (["1", "2"], "input.type", "<U1"),
        ([[1, 2], [3]], "input.type", "rectangular"),
        ([1 << 70, 0], "input.type", "object"),
        (None, "input.type", "object"),
        ([], "input.shape", "(0,)"),
        ([1, 2, 3], "input.shape", "(3,)"),
        ([[[1, 2]]], "input.shape", "(1, 1, 2)"),
        (5, "input.shape", "()"),
        ([[1, 2], [3, 101]], "input.range", "input[1][1]: 101"),
        ([-101, 0], "input.range", "[-100, 100]"),
        ([100, 101], "input.range", "input[1]: 101"),
        (np.zeros(2, [("a", int)]), "input.type", "[('a'"),
    ],
)
def test_bad_input_is_refused(x: Any, code: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        run(tiny(), x)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_bad_engine_and_foreign_profile_in_checked_mode() -> None:
    with pytest.raises(UsageError, match="turbo") as refused:
        run(tiny(), [1, 2], engine="turbo")
    assert refused.value.code == "usage.engine"
    with pytest.raises(UsageError, match="fast"):
        trace(tiny(), [1, 2], engine="fast")
    layer = Dense(np.array([[1]]), np.array([0]), Foreign("trunc0"), Activation(), Scales(1.0, 0.5, 1.0))
    with pytest.raises(ModelError) as caught:
        run(Network(Activation(), (layer,)), [3], engine="checked")
    assert caught.value.code == "model.host-only"


def test_inputs_are_left_alone() -> None:
    net, x = tiny(), np.array([[1, 2], [3, 4]], np.int32)
    for engine in ENGINES:
        run(net, x, engine=engine)
    assert x.tolist() == [[1, 2], [3, 4]]


def test_relu_is_the_clamp_at_the_zero_point() -> None:
    layer = Dense(np.array([[1], [-1]]), np.array([0, 0]), Q31(1 << 30, 1, "single"), Activation("int8", -3, -3, 127))
    y = run(Network(Activation(), (layer,)), np.arange(-50, 51)[:, None])
    assert y[:, 0].tolist() == [max(v, 0) - 3 for v in range(-50, 51)]
    assert y[:, 1].tolist() == [max(-v, 0) - 3 for v in range(-50, 51)]
