"""Identifying engines: by profiles that outputs are made with, by recordings of engines, and with faults on top."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_builder import Layer, Model, build

import intnn
from intnn import Activation, Dense, Fixed, Network
from intnn.conform.faults import outputs, parse
from intnn.conform.identify import ENGINES, identify
from intnn.errors import FileError, ForeignModelError, InputError, ModelError
from intnn.formats.tflite import parse_tflite
from intnn.profiles import PROFILES

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "models"


def model(seed: int = 0, sizes: tuple[int, ...] = (5, 8, 4), **options: Any) -> Model:
    rng = np.random.default_rng(seed)
    layers = []
    for n, (inputs, count) in enumerate(pairwise(sizes)):
        layers.append(
            Layer(
                rng.integers(-127, 128, (count, inputs)).astype(np.int8),
                rng.uniform(0.002, 0.01, count).astype(np.float32).astype(float).tolist(),
                0.0625,
                output_zero_point=-5,
                bias=rng.integers(-2000, 2000, count),
                activation="RELU" if n == 0 else "NONE",
            )
        )
    return Model(0.03125, tuple(layers), input_zero_point=3, **options)


def rows(count: int, inputs: int = 5, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-128, 128, (count, inputs))


def under(data: bytes, profile: str) -> Network:
    return parse_tflite(data, profile=profile).network


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["tflite", "json", "network"])
def test_each_profile_is_found(profile: str, kind: str, tmp_path: Path) -> None:
    """Counts are those of the interpreter; whoever else fits does so on all rows, too."""
    data = build(model())
    x = rows(300)
    nets = {p: under(data, p) for p in PROFILES}
    y = intnn.run(nets[profile], x)
    given: Any = nets["single"]
    if kind != "network":
        given = tmp_path / ("model.tflite" if kind == "tflite" else "model.json")
        given.write_bytes(data if kind == "tflite" else intnn.dumps(nets["single"]))
    found = identify(given, x, y)
    expected = {p: intnn.run(net, x) == y for p, net in nets.items()}
    assert {c.name: (c.rows, c.elements) for c in found.candidates} == {
        p: (int(same.all(axis=1).sum()), int(same.sum())) for p, same in expected.items()
    }
    assert set(found.winners) == {p for p, same in expected.items() if same.all()}
    assert profile in found.winners
    counts = [c.rows for c in found.candidates]
    assert counts == sorted(counts, reverse=True)
    refuted = [300 - n for n in counts if n < 300]
    assert found.refuting == min(refuted)
    assert found.unavailable == ()
    assert all(c.text == ENGINES[c.name] for c in found.candidates)
    assert f"is refuted by {found.refuting} row" in found.text()


def test_deciding_inputs_decide() -> None:
    """On one row many profiles fit. Any two are told apart by the inputs found, or proved the same, or much alike."""
    data = build(model(4))
    x = np.full((1, 5), 3)
    nets = {p: under(data, p) for p in PROFILES}
    found = identify(nets["double"], x, intnn.run(nets["double"], x))
    assert len(found.winners) > 4
    assert found.deciding
    for d in found.deciding:
        assert len({y for _, y in d.answers}) > 1
        for name, y in d.answers:
            assert intnn.run(nets[name], np.array(d.x)).tolist() == list(y)
        assert [name for name, _ in d.answers] == list(found.winners)
    told = {name: [dict(d.answers)[name] for d in found.deciding] for name in found.winners}
    probe = rows(20_000, seed=9)
    for a, b in combinations(found.winners, 2):
        if any({a, b} <= set(names) for names in found.same):
            assert (intnn.run(nets[a], probe) == intnn.run(nets[b], probe)).all()
        elif (intnn.run(nets[a], probe[:2000]) != intnn.run(nets[b], probe[:2000])).any():
            assert told[a] != told[b], (a, b)
    text = found.text()
    assert "ask the engine to decide" in text
    assert " ".join(map(str, found.deciding[0].x)) in text


def test_the_deciding_inputs_are_the_engines_undoing() -> None:
    """Answers to them, given in turn, leave the one profile or those that are proved the same."""
    data = build(model(4))
    nets = {p: under(data, p) for p in PROFILES}
    x = np.full((1, 5), 3)
    for engine in ("double", "upup", "fp32even"):
        first = identify(nets["double"], x, intnn.run(nets[engine], x))
        more = np.array([*x.tolist(), *(d.x for d in first.deciding)])
        second = identify(nets["double"], more, intnn.run(nets[engine], more))
        assert engine in second.winners
        assert len(second.winners) < len(first.winners)


def test_profiles_that_are_one_function_are_said_to_be() -> None:
    """With a scale of exactly 1/2^8 and few inputs, all that round half up once are the same on every input."""
    layer = Layer(np.array([[1, 2]], np.int8), 0.0078125, 1.0, bias=np.array([3]))
    net = under(build(Model(0.5, (layer,))), "single")
    every = np.array([(a, b) for a in range(-128, 128) for b in range(-128, 128)])
    x = every[::3]
    found = identify(net, x, intnn.run(net, x))
    answers = {p: intnn.run(intnn.with_profile(net, p), every) for p in PROFILES}
    classes: dict[bytes, set[str]] = {}
    for p, y in answers.items():
        classes.setdefault(y.tobytes(), set()).add(p)
    assert set(found.winners) == classes[answers["single"].tobytes()] == {n for group in found.same for n in group}
    assert found.deciding == ()
    assert "are proved to be the same function of the input" in found.text()


def test_a_fault_on_top_of_a_profile_is_named() -> None:
    data = build(model(2))
    net = under(data, "upup")
    x = rows(400)
    y = outputs(net, [parse(net, "bias.shifted@0")], x)
    found = identify(net, x, y)
    assert found.winners == ()
    assert found.candidates[0].rows < 400
    best = {name: [e.faults for e in d.explanations[: d.tied]] for name, d in found.diagnoses}
    assert ("bias.shifted@0",) in best["upup"]
    text = found.text()
    assert text.startswith("none of 10 candidates fits; ")
    assert "400 of 400 rows are explained if layer 0 adds the next neuron's bias" in text


def test_a_model_without_scales_has_roundings_for_candidates() -> None:
    rng = np.random.default_rng(8)
    layers = []
    for shape in ((6, 5), (3, 6)):
        layers.append(
            Dense(
                rng.integers(-99, 99, shape),
                rng.integers(-99, 99, shape[0]),
                Fixed.half_up(6, 3, 2),
                Activation("int8"),
            )
        )
    net = Network(Activation("int8"), tuple(layers))
    x = rows(500)
    right = identify(net, x, intnn.run(net, x))
    assert right.winners[0] == "as specified"
    y = outputs(net, [parse(net, "rounding.half-even@*")], x)
    assert (y != intnn.run(net, x)).any()
    found = identify(net, x, y)
    assert found.winners == ("rounding.half-even@*",)
    one = Network(net.input, net.layers[:1])
    y = outputs(one, [parse(one, "rounding.toward-zero@0")], x)
    assert "rounding.toward-zero@0" in identify(one, x, y).winners


def test_a_rule_of_its_own_is_a_candidate() -> None:
    """A network with scales whose constants no profile gives: it is tried as it is."""
    net = under(build(model()), "double")
    rule: Any = net.layers[0].requantize
    own = Dense(net.layers[0].weights, net.layers[0].bias, Fixed.half_up(6), net.layers[0].output, net.layers[0].scales)
    other = Network(net.input, (own, *net.layers[1:]))
    assert rule.rounding == "double"
    x = rows(200)
    found = identify(other, x, intnn.run(other, x))
    assert found.winners == ("as specified",)
    assert len(found.candidates) == 1 + len(PROFILES)
    assert "as specified" not in {c.name for c in identify(net, x, intnn.run(net, x)).candidates}


def test_profiles_that_cannot_be_are_said_not_to() -> None:
    """A scale of 2^9 is beyond the float rules."""
    layer = Layer(np.array([[1, 0]], np.int8), 32.0, 1.0, output_type="int16")
    net = under(build(Model(16.0, (layer,), activation_type="int16")), "double")
    net = Network(Activation("int16", min=-9, max=9), net.layers)
    x = np.array([[1, 1], [-3, 2]])
    found = identify(net, x, intnn.run(net, x))
    assert {name for name, _ in found.unavailable} == {"f64away", "fp32even", "rndnu", "trunc0", "microflow"}
    assert "not possible: input scale * weight scale / output scale is 512" in found.text()


def test_the_document_is_json() -> None:
    net = under(build(model()), "double")
    x = rows(50)
    for y in (intnn.run(net, x), outputs(net, [parse(net, "bias.missing@1")], x)):
        found = identify(net, x, y)
        again = json.loads(json.dumps(found.document()))
        assert again == found.document()
        assert again["format"] == "intnn-identification/1"
        assert again["fitting"] == list(found.winners)
        assert (again["rows"], again["elements"]) == (50, 200)
        assert [c["name"] for c in again["candidates"]] == [c.name for c in found.candidates]
        assert bool(again["diagnoses"]) == (not found.winners)


def test_one_row_will_do() -> None:
    net = under(build(model()), "double")
    x = rows(1)[0]
    found = identify(net, x, intnn.run(net, x))
    assert found.rows == 1
    assert "double" in found.winners


@pytest.mark.parametrize(
    ("y", "code"),
    [
        (np.zeros((3, 4)), "input.type"),
        (np.zeros((3, 4), bool), "input.type"),
        ([[1, 2], [3]], "input.type"),
        ([["a"] * 4] * 3, "input.type"),
        (np.zeros((2, 4), int), "input.shape"),
        (np.zeros((3, 5), int), "input.shape"),
        (np.zeros(4, int), "input.shape"),
        (np.zeros((3, 4, 1), int), "input.shape"),
        (np.full((3, 4), 128), "input.range"),
        (np.full((3, 4), -129), "input.range"),
    ],
)
def test_outputs_that_cannot_be_are_refused(y: Any, code: str) -> None:
    net = under(build(model()), "double")
    with pytest.raises(InputError) as caught:
        identify(net, rows(3), y)
    assert caught.value.code == code
    assert "recorded outputs" in str(caught.value)


def test_inputs_that_cannot_be_are_refused() -> None:
    net = under(build(model()), "double")
    y = np.zeros((3, 4), int)
    for x, code in ((rows(3) * 2.0, "input.type"), (rows(3, 4), "input.shape"), (rows(3) + 256, "input.range")):
        with pytest.raises(InputError) as caught:
            identify(net, x, y)
        assert caught.value.code == code
    with pytest.raises(InputError) as caught:
        identify(net, rows(0), np.zeros((0, 4), int))
    assert caught.value.code == "input.shape"


def test_models_that_cannot_be_are_refused(tmp_path: Path) -> None:
    x, y = rows(1), np.zeros((1, 4), int)
    with pytest.raises(FileError):
        identify(tmp_path / "none.json", x, y)
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(FileError):
        identify(tmp_path / "no.json", x, y)
    (tmp_path / "no.tflite").write_bytes(build(model(subgraphs=2)))
    with pytest.raises(ForeignModelError):
        identify(tmp_path / "no.tflite", x, y)
    layer = Dense(np.array([[1]]), np.array([2**31 - 1]), Fixed.half_up(0), Activation("int8"))
    with pytest.raises(ModelError) as caught:
        identify(Network(Activation("int8"), (layer,)), [[0]], [[0]])
    assert caught.value.code == "model.overflow"


@pytest.mark.parametrize(
    ("recording", "profile"),
    [("tflm", "double"), ("builtin_no_delegate", "upup"), ("xnnpack", "fp32even"), ("builtin_ref", "f64away")],
)
@pytest.mark.parametrize(
    "name", ["hello_world_int8", "microflow_sine", pytest.param("mlperf_ad01_int8", marks=pytest.mark.slow)]
)
def test_recorded_engines_are_identified(name: str, recording: str, profile: str) -> None:
    """The engine's profile fits; another that does is proved to be the same, told apart, or not by any input tried."""
    path = RECORDED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"recorded models are not there: {path}")
    with np.load(RECORDED / f"{name}.ref.npz") as recorded:
        x, y, digest = recorded["input"], recorded[recording], str(recorded["sha256"])
    data = path.read_bytes()
    found_digest = hashlib.sha256(data).hexdigest()
    if found_digest != digest:  # recordings say nothing about another file, whatever its name
        pytest.skip(f"{path.name} is not the file that was recorded: sha256 {found_digest[:16]}, not {digest[:16]}")
    found = identify(path, x, y)
    assert profile in found.winners
    # Of the three roundings that engines have in use, twice half and once, these rows leave one.
    kinds = [{"double", "double-f32"}, {"upup"}, {"single", "reduced15", "f64away", "fp32even", "rndnu", "microflow"}]
    assert [kind for kind in kinds if kind & set(found.winners)] == [next(k for k in kinds if profile in k)]
    assert found.refuting is not None
    for d in found.deciding:
        for winner, answer in d.answers:
            assert intnn.run(under(data, winner), np.array(d.x)).tolist() == list(answer)
