"""The pictures: well formed, needing nothing else, and every figure equal to what NumPy alone says here."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from intnn import emit_c, load
from intnn.errors import IntnnError
from intnn.floats.auto import Candidate
from intnn.floats.network import FloatDense, FloatNetwork
from intnn.floats.quantize import Quantized, quantize
from intnn.floats.scheme import Scheme
from intnn.model import Activation, Dense, Fixed, Network, Scales
from intnn.pictures import layers, marks, memory, page, sweeps
from intnn.pictures.accuracy import POINTS
from intnn.profiles import with_profile
from intnn.targets.cost import Budget, Cost, LayerCost

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
ROWS = 640
Floats = npt.NDArray[np.float64]


# --- a network and its data ----------------------------------------------------------------------------------------


@cache
def floats() -> FloatNetwork:
    rng = np.random.default_rng(3)
    first = rng.normal(size=(8, 6)) * 0.6
    first[5] = 0  # with its bias below 0: an output of 0, whatever comes
    bias = rng.normal(size=8) * 0.2
    bias[5] = -1
    return FloatNetwork((FloatDense(first, bias, 0), FloatDense(rng.normal(size=(3, 8)), rng.normal(size=3) * 0.1)))


@cache
def data() -> tuple[Floats, Floats]:
    """Inputs, and what was to come out: the float network's outputs and noise."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(ROWS, 6))
    return x, floats().run(x) + rng.normal(size=(ROWS, 3)) * [0.05, 0.1, 0.2]


@cache
def made() -> Quantized:
    return quantize(floats(), data()[0])


def forward(net: Network, x: npt.NDArray[Any]) -> list[npt.NDArray[np.int64]]:
    """The accumulators and outputs of each layer in turn, by NumPy's own int64."""
    values, found, source = x.astype(np.int64), [], net.input
    for layer in net.layers:
        rule = layer.requantize
        assert isinstance(rule, Fixed)
        acc = (values - source.zero_point) @ layer.weights.T.astype(np.int64) + layer.bias
        product = ((acc + rule.pre_round) >> rule.pre_shift) * rule.multiplier + rule.round
        values = np.clip((product >> rule.shift) + layer.output.zero_point, layer.output.min, layer.output.max)
        found += [acc, product, values]
        source = layer.output
    return found


def integers(net: Network, x: Floats) -> npt.NDArray[np.int64]:
    scales = net.layers[0].scales
    assert scales is not None
    encoded = np.rint(x / scales.input) + net.input.zero_point
    clipped: npt.NDArray[np.int64] = np.clip(encoded, net.input.min, net.input.max).astype(np.int64)
    return clipped


def outputs(net: Network, x: Floats) -> Floats:
    scales = net.layers[-1].scales
    assert scales is not None
    steps = forward(net, integers(net, x))[-1] - net.output.zero_point
    return steps.astype(np.float64) * scales.output


def rmse(a: Floats, b: Floats) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def cost() -> Cost:
    tables = sum(part.size for part in memory.tables(emit_c(made().network), made().network))
    each = (LayerCost("layer 0", 48, 900), LayerCost("layer 1", 24, 400))
    y = np.zeros((1, 3))
    return Cost("cortex-m0", "cc", "1", "s", 400, tables + 3, 20, 4, 8, 100, 900, 1500, each, y)


def small() -> Network:
    """Without scales. Neuron 1 is constant by the proof, neuron 2 above its clamp only for inputs beyond 90."""
    weights = np.array([[1, 2], [0, 0], [-1, 0]])
    hidden = Dense(weights, np.array([0, -5, -90]), Fixed.floor(0), Activation("int8", min=0))
    last = Dense(np.array([[1, 1, 1]]), np.array([0]), Fixed.floor(1), Activation())
    return Network(Activation("int8", min=-100, max=100), (hidden, last), "small")


@cache
def pages() -> dict[str, str]:
    x, y = data()
    q = made()
    labels = y.argmax(axis=1)
    scheme = Scheme(activations="int16")
    other = quantize(floats(), x, scheme=scheme)
    tried = (
        Candidate(scheme, other, 0.1, 900, 90, 2000, True),
        Candidate(scheme, other, 0.15, 900, 90, 2100, False),
        Candidate(q.scheme, q, 0.2, 700, 80, 1800, True),
    )
    return {
        "bare": page(q.network, name="net.json"),
        "integers": page(small(), name="small.json", x=[[1, 2], [-3, 4]], cost="no compiler is installed"),
        "targets": page(q.network, name="net.json", x=x, y=y),
        "floats": page(q.network, name="net.json", x=x, floats=floats()),
        "labels": page(q.network, name="net.json", x=x, y=labels, floats=floats()),
        "all": page(q.network, name="net.json", x=x, y=y, quantized=q, cost=cost(), candidates=tried),
        "invalid": page(too_large(), name="large.json", x=[[1, 2]], cost="none"),
    }


def too_large() -> Network:
    layer = Dense(np.full((1, 2), 127), np.array([0]), Fixed.floor(0, multiplier=5000), Activation())
    return Network(Activation("int16", min=0, max=4095), (layer,))


# --- reading a page ------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Reads a page strictly: every element closed, nothing that loads or runs anything."""

    VOID = ("meta", "br")
    REFUSED = ("script", "img", "link", "iframe", "object", "embed", "foreignobject", "use", "image", "a", "form")

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in self.REFUSED
        assert not [
            name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "style", "xlink:href")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def svgs(source: str) -> Iterator[ElementTree.Element]:
    for text in re.findall(r"<svg .*?</svg>", source, re.S):
        yield ElementTree.fromstring(text)


def headings(source: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", source)


def rows_of(source: str, summary: str) -> list[list[str]]:
    """The cells of a table, the head left out."""
    content = re.search(rf"<summary>{re.escape(summary)}</summary>.*?<table>(.*?)</table>", source, re.S)
    assert content, summary
    lines = re.findall(r"<tr>(.*?)</tr>", content[1], re.S)
    return [re.findall(r"<td[^>]*>(.*?)</td>", line, re.S) for line in lines[1:]]


def value(cell: str) -> float:
    """The number that a cell shows."""
    return float(cell.replace("\u2212", "-").replace(",", "").replace("%", "").replace("&lt;", "").strip())


def near(shown: str, exact: float) -> bool:
    """Whether three significant digits, or an integer, show ``exact``."""
    return math.isclose(value(shown), exact, rel_tol=0.006, abs_tol=1e-12)


# --- the page as a document ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["bare", "integers", "targets", "floats", "labels", "all", "invalid"])
def test_pages_are_well_formed_and_alone(case: str) -> None:
    source = pages()[case]
    Reader(source)
    assert source.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"https?:|//|url\(|@import|javascript", source.replace("</", "<"))
    assert len(source.encode()) < 300_000
    drawn = list(svgs(source))
    assert drawn
    for svg in drawn:
        said = svg.get("role") == "img" and svg.get("aria-label")
        assert said or svg.get("width") == "100%", "only an axis, hidden from readers aloud, says nothing"
        for element in svg.iter():
            for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"):
                number = element.get(name, "0").removesuffix("%")
                assert math.isfinite(float(number)), (element.tag, name, number)
            assert not re.search("nan|inf", element.get("d", ""))


def test_the_reader_of_pages_can_refuse() -> None:
    good = pages()["bare"]
    for bad in ("<script>1</script>", '<p onclick="x">1</p>', "<p>1", "1</p>", '<img src="x">', '<a href="x">1</a>'):
        with pytest.raises((AssertionError, IndexError)):
            Reader(good.replace("<footer>", f"{bad}<footer>"))


INTEGERS = [
    "Headroom: how much of int32 is needed",
    "Weights against what is representable",
]
DATA = ["Activations against what is representable", "Saturation"]
QUANTIZING = ["What each step of quantization cost", "Bit widths"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("bare", INTEGERS),
        ("integers", [*INTEGERS, *DATA, "Memory map"]),
        ("targets", [*INTEGERS, *DATA, "Integer network against targets"]),
        ("floats", [*INTEGERS, *DATA, "Integer network against float network", *QUANTIZING]),
        ("labels", [*INTEGERS, *DATA, "Integer network against float network and targets", *QUANTIZING]),
        (
            "all",
            [
                *INTEGERS,
                *DATA,
                "Integer network against float network and targets",
                *QUANTIZING,
                "Error against flash and cycles",
                "Memory map",
            ],
        ),
        ("invalid", ["Weights against what is representable"]),
    ],
)
def test_sections_are_there_where_their_data_are(case: str, expected: list[str]) -> None:
    assert headings(pages()[case]) == expected


def test_the_same_arguments_give_the_same_bytes() -> None:
    x, y = data()
    again = page(made().network, name="net.json", x=x, y=y)
    assert again == pages()["targets"]
    code = "import sys, intnn; from intnn.pictures import page; "
    code += "sys.stdout.write(page(intnn.load(sys.argv[1]), name='pose', x=[[1, 2, 3, 4, 5, 6]]))"
    model = str(EXAMPLES / "pose.json")
    elsewhere = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, model],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert elsewhere.stdout.decode() == page(load(model), name="pose", x=[[1, 2, 3, 4, 5, 6]])


def test_text_of_files_is_only_text() -> None:
    name = '<script>alert("1")</script>&amp;\x1b[2J\u202e.json'
    net = replace(small(), name="<b>'&\"</b>")
    source = page(net, name=name, x=[[1, 2]], cost="</p><script>")
    Reader(source)
    assert "<script" not in source
    assert "<b>" not in source
    assert "\x1b" not in source
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;" in source


def test_an_invalid_network_is_shown_and_not_run() -> None:
    source = pages()["invalid"]
    assert "NOT VALID" in source
    assert "1040130 * 5000 = 5200650000 leaves int32" in source
    assert "VALID</p><h1>net.json: no value leaves int32" in pages()["bare"]


# --- the figures ---------------------------------------------------------------------------------------------------


def test_headroom() -> None:
    net, x = made().network, integers(made().network, data()[0])
    run = forward(net, x)
    lines = rows_of(pages()["targets"], "Bounds and observed ranges")
    assert len(lines) == 6
    for k, (layer, source) in enumerate(zip(net.layers, net.inputs, strict=True)):
        w = layer.weights.astype(np.int64)
        ends = np.array([source.min, source.max]) - source.zero_point
        low = np.minimum(w * ends[0], w * ends[1]).sum(axis=1) + layer.bias
        high = np.maximum(w * ends[0], w * ends[1]).sum(axis=1) + layer.bias
        acc, product = lines[3 * k], lines[3 * k + 2]
        assert [value(cell) for cell in acc[2:6]] == [low.min(), high.max(), run[3 * k].min(), run[3 * k].max()]
        assert [value(cell) for cell in product[4:6]] == [run[3 * k + 1].min(), run[3 * k + 1].max()]
        largest = max(abs(value(product[2])), abs(value(product[3])))
        assert value(product[6]) == 31 - math.ceil(math.log2(largest + 1))
    partial = net.layers[0].weights.astype(np.int64) * 128
    assert value(lines[1][3]) >= np.maximum(partial, 0).sum(axis=1).max()


def test_bits_are_equally_wide() -> None:
    assert layers.bits(0) == 0.5
    assert layers.bits(2**31 - 1) == pytest.approx(1, abs=1e-9)
    assert layers.bits(-(2**31)) == pytest.approx(0, abs=1e-9)
    assert layers.bits(2**20 - 1) - layers.bits(2**19 - 1) == pytest.approx(1 / 62)
    assert layers.bits(-1000) == pytest.approx(1 - layers.bits(1000))


def test_weights_and_activations() -> None:
    net = made().network
    x = integers(net, data()[0])
    run = forward(net, x)
    lines = rows_of(pages()["targets"], "Weights of each neuron")
    expected = [
        [k, o, row.min(), row.max(), len(set(row.tolist())), layer.bias[o]]
        for k, layer in enumerate(net.layers)
        for o, row in enumerate(layer.weights)
    ]
    assert [[value(cell) for cell in line] for line in lines] == expected
    used = len(set(net.layers[0].weights.ravel().tolist()))
    assert f"{used} of the 255 values within [\u2212127, 127] used" in pages()["bare"]
    lines = rows_of(pages()["targets"], "Observed range of each element")
    expected = [
        [e, column.min(), column.max(), len(set(column.tolist()))]
        for vector in (x, run[2], run[5])
        for e, column in enumerate(vector.T)
    ]
    assert [[value(cell) for cell in line[1:]] for line in lines] == expected


def test_four_bits_are_drawn_as_four_bits() -> None:
    q = quantize(floats(), data()[0], scheme=Scheme(weights="int4"))
    assert "of the 15 values within [\u22127, 7] used" in page(q.network, name="n")


def test_saturation_tells_what_is_meant_from_what_is_not() -> None:
    net = made().network
    run = forward(net, integers(net, data()[0]))
    lines = rows_of(pages()["targets"], "Saturation of each neuron")
    shares = [
        [float((values == bound).mean()) for bound in (layer.output.min, layer.output.max)]
        for layer, vector in zip(net.layers, (run[2], run[5]), strict=True)
        for values in vector.T
    ]
    for line, (low, high) in zip(lines, shares, strict=True):
        assert abs(value(line[2]) - 100 * low) <= 0.1
        assert abs(value(line[3]) - 100 * high) <= 0.1
    assert "layer 0 <span>ReLU" in pages()["targets"]
    assert "layer 1 <span>no ReLU" in pages()["targets"]


def test_dead_neurons_are_named() -> None:
    source = pages()["integers"]
    assert "One output for every input, by the proof: neuron 1." in source
    assert "Never above the lower clamp on the data: neuron 2." in source
    lines = rows_of(source, "Saturation of each neuron")
    assert [line[-1:] for line in lines[:3]] == [[""], ["constant, proved"], ["dead on the data"]]
    above = page(small(), name="small.json", x=[[-95, 2], [-3, 4]])  # (95 - 90) > 0
    assert "on the data: neuron" not in above


def test_errors_are_those_of_numpy() -> None:
    x, y = data()
    got, wish = outputs(made().network, x), floats().run(x)
    lines = rows_of(pages()["all"], "Errors of each output")
    assert len(lines) == 3
    for o, line in enumerate(lines):
        for cells, values in ((line[1:4], got), (line[4:7], wish)):
            error = values[:, o] - y[:, o]
            assert near(cells[0], rmse(values[:, o], y[:, o]))
            assert near(cells[1], error.mean())
            assert near(cells[2], np.abs(error).max())
    lines = rows_of(pages()["floats"], "Errors of each output")
    assert all(near(line[1], rmse(got[:, o], wish[:, o])) for o, line in enumerate(lines))
    assert f"RMSE {marks.number(rmse(got, y))}, the float network {marks.number(rmse(wish, y))}" in pages()["all"]


def test_scatter_plots_draw_some_of_many_samples() -> None:
    assert f"{POINTS} of {ROWS} samples are drawn" in pages()["all"]
    dots = re.findall(r'class="dots integer" d="(.*?)"', pages()["all"])
    assert len(dots) == 3
    assert all(50 < d.count("M") <= POINTS for d in dots)
    few = page(made().network, name="n", x=data()[0][:20], y=data()[1][:20])
    assert "are drawn" not in few
    assert all(d.count("M") <= 20 for d in re.findall(r'class="dots integer" d="(.*?)"', few))


def test_labels_are_counted() -> None:
    x, y = data()
    labels = y.argmax(axis=1)
    answers = outputs(made().network, x).argmax(axis=1), floats().run(x).argmax(axis=1)
    lines = rows_of(pages()["labels"], "Right answers by label")
    for label, line in enumerate(lines):
        mine = labels == label
        assert [value(cell) for cell in line[1:]] == [mine.sum(), *((a[mine] == label).sum() for a in answers)]
    assert "Error rate against the targets" in pages()["labels"]


def test_attribution_begins_with_the_floats_and_ends_with_the_integers() -> None:
    x, y = data()
    steps = {line[0]: line[1] for line in rows_of(pages()["all"], "Error after each step")}
    assert next(iter(steps)) == "float"
    assert near(steps["float"], rmse(floats().run(x), y))
    assert near(steps["integer network"], rmse(outputs(made().network, x), y))
    assert "this model" not in steps


def test_attribution_of_a_model_made_elsewhere_leads_to_it() -> None:
    x, y = data()
    other = quantize(floats(), x[:40], scheme=Scheme(bias_correction=False)).network
    source = page(other, name="n", x=x, y=y, floats=floats())
    steps = {line[0]: line[1] for line in rows_of(source, "Error after each step")}
    assert near(steps["this model"], rmse(outputs(other, x), y))
    assert "quantize the floats anew" in source


def test_bit_widths() -> None:
    x, y = data()
    lines = rows_of(pages()["all"], "Error of each combination")
    assert [(line[0], line[1]) for line in lines] == [
        (activations, str(bits)) for activations in ("int8", "uint8", "int16") for bits in range(2, 9)
    ]
    errors = {(line[0], line[1]): line[2] for line in lines}
    assert near(errors["int8", "8"], rmse(outputs(made().network, x), y))  # all samples, the same scheme
    assert value(errors["int8", "2"]) > 2 * value(errors["int8", "8"])
    for bits in (2, 5, 8):
        net = quantize(floats(), x, scheme=sweeps.narrowed(Scheme(), bits)).network
        assert max(np.abs(layer.weights.astype(int)).max() for layer in net.layers) == 2 ** (bits - 1) - 1


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(),
        Scheme(activations="int16", requantize="15-bit", output="int8"),
        Scheme(activations="uint8", weights="int4", per_channel=False, requantize="power-of-two"),
        Scheme(requantize="q31", per_channel=False),
    ],
    ids=str,
)
def test_the_scheme_is_read_off_the_integers(scheme: Scheme) -> None:
    read = sweeps.scheme_of(quantize(floats(), data()[0], scheme=scheme).network)
    assert read == replace(scheme, input=scheme.activations)


def test_a_multiplier_that_is_a_shift_is_a_power_of_two() -> None:
    layer = replace(scaled().layers[0], requantize=Fixed.floor(9, multiplier=64))
    assert sweeps.scheme_of(Network(Activation(), (layer,))).requantize == "power-of-two"


def test_pareto() -> None:
    source = pages()["all"]
    lines = rows_of(source, "All 3 schemes")
    assert [line[0] for line in lines] == ["1", "", "2"]
    assert [line[1].endswith(", this model") for line in lines] == [False, False, True]
    assert [value(cell) for cell in lines[0][2:]] == [0.1, 900, 90, 2000]
    assert source.count('class="ring"') == 3  # in the bit widths, in flash and in cycles
    listed = "int16 activations, int8 weights per channel, 8-bit multiplier: error 0.1, 900 bytes, 2,000 cycles"
    assert f"<li>{listed}</li>" in source
    assert source.count("<li>") == 2
    assert [d.count("M") for d in re.findall(r'class="dots quiet medium" d="(.*?)"', source)] == [1, 1]
    assert [d.count("M") for d in re.findall(r'class="dots integer large" d="(.*?)"', source)] == [2, 2]


# --- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(activations="int16", requantize="q31")], ids=str)
def test_tables_are_those_of_the_emitted_c(scheme: Scheme) -> None:
    """The sizes are declared; here the numbers between the braces are counted."""
    net = quantize(floats(), data()[0], scheme=scheme).network
    source = emit_c(net)
    found = {part.name: part.size for part in memory.tables(source, net)}
    for k, layer in enumerate(net.layers):
        tables = re.findall(rf"static const u?int(\d+)_t net_([a-z]+){k}\[\d+\] = \{{(.*?)\}};", source, re.S)
        counted = {name: int(bits) // 8 * len(content.split(",")) for bits, name, content in tables}
        assert found[f"layer {k} weights"] == layer.weights.size
        assert found[f"layer {k} biases"] == counted["bias"]
        rest = sum(counted.values()) - layer.weights.size - counted["bias"]
        assert found.get(f"layer {k} requantization, padding", 0) == rest


def test_the_map_accounts_for_every_byte() -> None:
    flash, ram = (rows_of(pages()["all"], f"{name}, part by part") for name in ("Flash", "RAM"))
    assert sum(value(line[1]) for line in flash) == cost().flash
    assert sum(value(line[1]) for line in ram) == cost().ram
    assert {line[0]: value(line[1]) for line in flash}["code"] == 400
    buffers = {line[0]: value(line[1]) for line in ram}["stack: vectors between layers"]
    assert 8 + 3 <= buffers <= 64
    cycles = rows_of(pages()["all"], "Cycles, layer by layer")
    assert [line[:3] for line in cycles] == [["layer 0", "900", "48"], ["layer 1", "400", "24"]]


def test_what_is_missing_is_said() -> None:
    assert "Code, stack and cycles are not known here: no compiler is installed." in pages()["integers"]
    assert "Flash, part by part" in pages()["integers"]
    foreign = page(with_profile(scaled(), "fp32even"), name="n", cost="no compiler")
    assert "No C can be emitted, so there is no map" in foreign
    tight = page(made().network, name="n", cost=cost(), budget=Budget(500, 16384))
    assert f"{cost().flash - 500:,} bytes too many" in tight


def scaled() -> Network:
    layer = Dense(np.array([[3, -4]]), np.array([5]), Fixed.floor(3), Activation(), Scales(0.5, 0.25, 1.0))
    return Network(Activation(), (layer,))


# --- data that do not fit ------------------------------------------------------------------------------------------

GOOD = np.zeros((4, 6))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("input.shape", {"x": GOOD[:, :5]}),
        ("input.shape", {"x": GOOD[:0]}),
        ("input.shape", {"x": np.zeros((0, 6), np.int8)}),
        ("input.shape", {"x": GOOD.astype(np.int8)[:, :5]}),
        ("input.value", {"x": GOOD + np.nan}),
        ("input.value", {"x": GOOD + np.inf}),
        ("input.range", {"x": np.full((2, 6), 300)}),
        ("input.type", {"x": [["a"] * 6]}),
        ("input.type", {"x": [[1, 2], [3]]}),
        ("input.shape", {"x": GOOD, "y": np.zeros((4, 2))}),
        ("input.shape", {"x": GOOD, "y": np.zeros((3, 3))}),
        ("input.shape", {"x": GOOD, "y": np.zeros(3, int)}),
        ("input.value", {"x": GOOD, "y": np.full((4, 3), np.nan)}),
        ("input.range", {"x": GOOD, "y": np.full(4, 3)}),
        ("input.type", {"x": GOOD, "y": [[1, 2, 3], [4]]}),
        ("model.chain", {"x": GOOD, "floats": FloatNetwork((FloatDense(np.ones((3, 6)), np.zeros(3)),))}),
    ],
)
def test_data_that_do_not_fit_are_refused(code: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(IntnnError) as error:
        page(made().network, name="n", **arguments)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("input.type", {"x": [[0.5, 1.0]]}),
        ("input.range", {"x": [[101, 0]]}),
        ("model.value", {"x": [[1, 2]], "y": [[0.5]]}),
    ],
)
def test_without_scales_only_integers_are_taken(code: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(IntnnError) as error:
        page(small(), name="n", **arguments)
    assert error.value.code == code


def test_too_few_samples_to_quantize_with_leave_the_rest_of_the_page() -> None:
    source = page(made().network, name="n", x=data()[0][:1], floats=floats())
    assert "Not to be had from these data: input: there is one sample only." in source
    assert "Errors of each output" in source


# --- marks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (12549, "12,549"),
        (-3, "\u22123"),
        (0.034123, "0.0341"),
        (1234.5, "1,234"),
        (1.2e-5, "1.2e\u221205"),
        (-0.5, "\u22120.5"),
        (3.5e9 + 0.5, "3.50e+09"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    assert marks.number(number) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.5, "50.0 %"), (0.0004, "< 0.1 %"), (0.9996, "> 99.9 %"), (0.972, "97.2 %")],
)
def test_percent(share: float, text: str) -> None:
    assert marks.percent(share) == text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 8), (1e-9, 3e-9), (-1e6, 1), (5, 5.001)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = marks.nice(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in ticks)
    log = marks.Axis.around([1e-4, 3e-1], "", log=True)
    assert all(log.low <= tick <= log.high for tick in log.ticks)
    assert log.share(log.low) == 0
    assert log.share(log.high) == 1


def test_tables_escape_and_count_what_they_leave_out() -> None:
    table = marks.table("<b>", ("<i>", "n"), [("<u>", 1)] * 301)
    assert not re.search("<[biu]>", table)
    assert ">and 1 more line<" in table
    assert table.count("&lt;u&gt;") == marks.LINES == 300


def test_labels_move_apart() -> None:
    moved = sweeps._spread([10.0, 10.0, 11.0, 50.0], 13)
    assert sorted(moved) == moved
    assert all(b - a >= 12.9 for a, b in pairwise(moved))
    assert moved[3] == 50


def test_many_neurons_share_columns() -> None:
    shared = marks.columns(1000)
    assert len(shared) <= marks.COLUMNS
    assert [n for which in shared for n in which] == list(range(1000))
    assert marks.neuron(shared[0]) == "neurons 0 to 7"
