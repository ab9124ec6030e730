"""The inputs of the golden vectors that are networks, layers or files; see :mod:`intnn.golden_cases`."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from intnn.arithmetic import INT32_MAX as HIGH
from intnn.arithmetic import INT32_MIN as LOW
from intnn.model import TYPES

Args: TypeAlias = dict[str, Any]
Case: TypeAlias = tuple[str, Args]

OUTSIDE = (LOW - 1, HIGH + 1)
FIXED = ("pre_round", "pre_shift", "multiplier", "round", "shift")

# --- parts of a network


def activation(type: str = "int8", zero_point: int = 0, low: int | None = None, high: int | None = None) -> Args:
    least, most = TYPES[type]
    return {
        "type": type,
        "zero_point": zero_point,
        "min": least if low is None else low,
        "max": most if high is None else high,
    }


def fixed(*constants: Any) -> Args:
    return {"family": "fixed", **dict(zip(FIXED, constants, strict=True))}


def q31(multiplier: Any, exponent: Any, rounding: str) -> Args:
    return {"family": "q31", "multiplier": multiplier, "exponent": exponent, "rounding": rounding}


def dense(weights: Any, bias: Any, requantize: Args, output: Args, **more: Any) -> Args:
    return {"type": "dense", "weights": weights, "bias": bias, "requantize": requantize, "output": output, **more}


def network(source: Args, *layers: Args, **more: Any) -> Args:
    return {"format": "intnn-model/1", "input": source, "layers": list(layers), **more}


INT8 = activation()
QUIET = q31(2**30, -24, "single")  # valid for every accumulator


def _matrix(rows: int, columns: int, seed: int, reach: int = 128) -> list[list[int]]:
    """Numbers in [-reach, reach) from a formula: any will do that has no pattern."""
    return [[(seed + 97 * i * i + 61 * j * j * j + 37 * (i + 1) * (j + 1)) * 7919 % (2 * reach) - reach
             for j in range(columns)] for i in range(rows)]  # fmt: skip


# --- networks


def networks() -> dict[str, Args]:
    """Small valid networks that between them use every feature."""
    found = {}
    for rounding in ("single", "double", "upup"):
        found[f"{rounding}, per channel"] = network(
            activation("uint8", 7),
            dense(_matrix(5, 4, 3), [900, -800, 70, 6000, -5000],
                  q31([2**30, 1518500250, HIGH, 1289204782, 1914719981], [-7, -8, -7, -6, -7], rounding),
                  activation("int8", -128)),
            dense(_matrix(4, 5, 8), [1, -20000, 300, 4000], q31(1583594044, -9, rounding), activation("int8", 3)),
        )  # fmt: skip
        found[f"{rounding}, ties"] = network(
            activation(),
            dense([[1, 0], [0, 1], [-1, 1], [1, 2], [3, -2]], [0, 1, 0, -1, 0],
                  q31([2**30] * 5, [0, -1, -2, -1, 1], rounding), activation("int16")),
        )  # fmt: skip
    found["fixed, per channel"] = network(
        activation("int8", -5),
        dense(_matrix(4, 3, 5), [100, -200, 5000, 7], fixed([2, 1, 0, 2], [2, 1, 0, 2], [181, 300, 77, 200], 4096, 13),
              activation("uint8", 100, 100)),
        dense(_matrix(2, 4, 6), [-1000, 3333], fixed(0, 0, [181, 90], [0, 16384], 15), activation("int16", -7)),
    )  # fmt: skip
    found["fixed, ties"] = network(
        activation("int8", 0, -40, 40),
        dense([[1, 0], [0, 1], [1, 1]], [0, 0, 1], fixed([0, 1, 2], [0, 1, 2], [3, 3, 5], [1, 1, 2], [1, 1, 2]),
              activation("int8", 2, 2, 30)),
    )  # fmt: skip
    found["16 bits, eight inputs"] = network(
        activation("int16", 100, -1000, 1000),
        dense(_matrix(5, 8, 2), [5, -70000, 123456, 0, 9], q31(1610612736, -8, "double"),
              activation("int16", -20, -20, 9000)),
    )  # fmt: skip
    return found


def _inputs(model: Args) -> Iterator[list[int]]:
    source, n = model["input"], len(model["layers"][0]["weights"][0])
    low, high, zero = source["min"], source["max"], source["zero_point"]
    yield from ([value] * n for value in (low, high, zero))
    yield [low if i % 2 else high for i in range(n)]
    for seed in range(1, 7):
        yield [(seed * 101 + i * 67 + seed * i * 13) % (high - low + 1) + low for i in range(n)]
    yield from ([min(max(zero + sign * (i + 1), low), high) for i in range(n)] for sign in (1, -1, 3, -3))


def run() -> Iterator[Case]:
    for group, model in networks().items():
        for x in _inputs(model):
            yield group, {"model": model, "x": x}


def network_input() -> Iterator[Case]:
    layer = dense([[1, 2]], [0], q31(2**30, -5, "single"), activation())
    for source in (activation(), activation("uint8", 3), activation("int16", 0, -500, 900)):
        model = network(source, layer)
        for value in sorted({bound + d for bound in (source["min"], source["max"]) for d in (-1, 0, 1)}):
            yield "range", {"model": model, "x": [0, value]}
        for x in ([1], [1, 2, 3], [True, False], [1, "2"], [200, 2], [0, -5]):
            yield "shape and type", {"model": model, "x": x}


# --- overflow


def order() -> Iterator[Case]:
    for bias in (0, 10, -10, LOW, HIGH):
        for terms in ([], [5, -7, 3], [1], [-1], [1, HIGH], [-1, LOW], [4, 5, 6], [-4, -5, -6], [0], [8, -8, 8, -8]):
            yield "subset", {"bias": bias, "terms": terms}
    for bias, terms in ((OUTSIDE[0], []), (OUTSIDE[1], [1]), (0, [OUTSIDE[1]]), (0, [1, OUTSIDE[0]])):
        yield "contract", {"bias": bias, "terms": terms}


def _one_layer(bias: int, weights: list[int], source: Args, rule: Args = QUIET, output: Args = INT8) -> Args:
    return {"model": network(source, dense([weights], [bias], rule, output))}


def valid() -> Iterator[Case]:
    for group, model in networks().items():
        yield group, {"model": model}
    for weights, source, least, most in (
        ([127, -128], activation("int8", -128), -128 * 255, 127 * 255),
        ([1, -1], activation("int8", 0, 1, 1), -1, 1),
        ([1, -1], activation("int8", 0, -1, 1), -2, 2),
        ([127, 3], activation("uint8", 255), -130 * 255, 0),
        ([100, -100], activation("int16", 0, -10, 20), -3000, 3000),
    ):
        for bias in (LOW - least, LOW - least - 1, HIGH - most, HIGH - most + 1, LOW, HIGH, 0):
            if LOW <= bias <= HIGH:
                yield "accumulator edge", _one_layer(bias, weights, source)
    point = activation("int8", 0, 1, 1)
    for rp, p, m, rs, s in ((0, 0, 1000, 128, 8), (2, 2, 1000000, 0, 20), (1, 1, 3, 0, 0)):
        top, bottom = ((((HIGH - rs) // m) + 1) << p) - rp - 1, (-(-LOW // m) << p) - rp
        for acc in (top, top + 1, bottom, bottom - 1):
            yield "product edge", _one_layer(acc - 1, [1], point, fixed(rp, p, m, rs, s))
    for acc in (2**26 - 1, 2**26, -(2**26), -(2**26) - 1):
        yield "left shift edge", _one_layer(acc - 1, [1], point, q31(2**30, 5, "double"))
    for acc, output in ((HIGH, activation()), (HIGH, activation("int8", 1)), (HIGH - 128, activation("int8", 0))):
        for sign in (1, -1):
            yield "clamp edge", _one_layer(sign * acc - sign, [sign], point, fixed(0, 0, 1, 0, 0), output)
    wide = fixed(0, 0, 1000, 0, 0)
    for acc in (2147000, -2147000):
        yield "one end", _one_layer(acc, [100], activation(), wide, activation("int16"))
    hidden = dense([[1]], [0], q31(2**30, 0, "single"), activation("int8", 0, -3, 3))
    for bias in (HIGH - 381, HIGH - 380):
        yield (
            "hidden clamp",
            {"model": network(activation(), hidden, dense([[127]], [bias], q31(2**30, -24, "upup"), activation()))},
        )


def endpoints() -> Iterator[Case]:
    outputs = (activation("int8", 5), activation("int8", -7, -7, 100), activation("uint8", 130, 130, 200))
    rules = (q31(2**30, -1, "double"), q31(1518500250, 2, "upup"), q31(HIGH, 0, "single"), fixed(2, 2, 181, 4096, 13))
    for rule, output in itertools.product(rules, outputs):
        for acc in ([-100, 100], [-1000000, 1000000], [0, 0], [-9, -3], [HIGH - 200, HIGH], [LOW, 0], [LOW + 200, 3]):
            yield "interval", {"requantize": rule, "output": output, "acc": acc}
    for acc in ([0, 2147484], [0, 2147483], [-2147484, 0], [5, 4], [0, HIGH + 1]):
        yield "contract", {"requantize": fixed(0, 0, 1000, 128, 8), "output": activation(), "acc": acc}


# --- models and files


def activations() -> Iterator[Case]:
    for name, (low, high) in TYPES.items():
        for zero, least, most in (
            (0, low, high), (low, low, high), (high, low, high), (0, 0, 0), (low - 1, low, high), (high + 1, low, high),
            (0, low - 1, high), (0, low, high + 1), (0, 1, 0), (high, high, high), (5, high, low),
        ):  # fmt: skip
            yield "range", {"type": name, "zero_point": zero, "min": least, "max": most}
    for name in ("int4", "INT8", "", "float32"):
        yield "type", {"type": name, "zero_point": 0, "min": 0, "max": 7}
    yield "not an integer", {"type": "int8", "zero_point": True, "min": 0, "max": 7}
    yield "not an integer", {"type": "int8", "zero_point": "0", "min": 0, "max": 7}


def rules_fixed() -> Iterator[Case]:
    for rp, p, m, rs, s in itertools.product((0,), (0, 31, 32, -1), (0, 1, HIGH, HIGH + 1), (0,), (0, 31, 32, -1)):
        yield "range", fixed(rp, p, m, rs, s)
    for s in (0, 1, 4, 30, 31):
        for constant in (-1, (1 << s) - 1, 1 << s):
            yield "constant", fixed(0, 0, 1, constant, s)
            yield "constant", fixed(constant, s, 1, 0, 0)
    pairs: tuple[Any, ...] = (
        ([1, 8], [1, 4]),
        ([1, 16], [1, 4]),
        (1, [1, 0]),
        ([0, 0], 0),
        ([0, 1], 0),
        ([1, 2], [1, 1]),
    )
    for constants, shifts in pairs:
        yield "per channel", fixed(0, 0, [3, 4], constants, shifts)
    yield "per channel", fixed([1, 3], [1, 2], [3, 0], 0, 0)


def rules_q31() -> Iterator[Case]:
    for m, e in itertools.product((0, 1, 2**30 - 1, 2**30, HIGH, HIGH + 1, -(2**30)), (-32, -31, 0, 30, 31)):
        yield "range", q31(m, e, "double")
    for name in ("single", "double", "upup", "nearest", "Single", ""):
        yield "rounding", q31(2**30, 0, name)
    pairs: tuple[Any, ...] = (([2**30, 0], [0, 1]), ([2**30, 5], [0, 1]), ([2**30], [31]), (2**30, [0, -32]))
    for multipliers, exponents in pairs:
        yield "per channel", q31(multipliers, exponents, "upup")


def layers() -> Iterator[Case]:
    rule, output = q31(2**30, 0, "single"), activation()
    for weights, bias in (
        ([[1, -2]], [5]), ([[127, -128], [0, 0]], [LOW, HIGH]), ([[1, 128]], [5]), ([[-129]], [5]), ([[1], [2]], [5]),
        ([[1]], [5, 6]), ([[1]], []), ([[1]], OUTSIDE[:1]), ([[1]], OUTSIDE[1:]), ([], []), ([[]], [1]),
        ([[1, 2], [3]], [1, 2]), ([[True]], [1]), ([["1"]], [1]), ([[1]], [False]),
    ):  # fmt: skip
        yield "shape and range", dense(weights, list(bias), rule, output)
    for m in ([2**30], [2**30] * 2, [2**30] * 3):
        yield "per channel", dense([[1], [2]], [3, 4], q31(m, 0, "upup"), output)
        yield "per channel", dense([[1], [2]], [3, 4], fixed(0, 0, [v >> 29 for v in m], 0, 1), output)
    yield "parts", dense([[1]], [3], q31(5, 0, "upup"), output)
    yield "parts", dense([[1]], [3], fixed(0, 0, 1, 1, 0), output)
    yield "parts", dense([[1]], [3], rule, activation("int8", 128))
    wrong = ("0x1.0000000001p+0", "0x1p+200", "-0x1p+0", "0x0p+0")
    for scale in ("0x1.8p-5", ["0x1p-1", "0x1p-2"], ["0x1p-1"], ["0x1p-1"] * 3, *wrong):
        scales = {"input": "0x1p-7", "weights": scale, "output": "0x1p+0"}
        yield "scales", dense([[1], [2]], [3, 4], rule, output, scales=scales)


def _tiny(**more: Any) -> Args:
    return network(activation("int8", 0, -3, 3), dense([[1, -2]], [5], q31(2**30, -1, "single"), activation()), **more)


def network_documents() -> Iterator[Case]:
    layer = _tiny()["layers"][0]
    back = dense([[3], [4]], [0, 0], fixed(0, 0, 3, 2, 2), activation("int16"))
    for layers in ([layer], [layer, back], [layer, layer], [back, layer], [back, layer, back], [], [layer, back, back]):
        yield "chain", {"model": network(activation(), *layers)}
    yield "invalid", _one_layer(HIGH, [1], activation())
    yield "invalid", _one_layer(HIGH, [1, -1], activation("int8", 0, 1, 1))
    for group, model in networks().items():
        yield group, {"model": model}


def _edited(change: Callable[[Args], Any]) -> str:
    document = json.loads(json.dumps(_tiny()))
    change(document)
    return json.dumps(document, separators=(",", ":"))


def model_files() -> Iterator[Case]:
    right = hashlib.sha256(json.dumps(_tiny(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    text = _edited(lambda d: None)
    edits: tuple[Callable[[Args], Any], ...] = (
        lambda d: None,
        lambda d: d.update(sha256=right),
        lambda d: d.update(sha256="0" * 64),
        lambda d: d.update(sha256=right.upper()),
        lambda d: d.update(sha256=5),
        lambda d: d.update(name="a b~", source=""),
        lambda d: d.update(name="n" * 200),
        lambda d: d.update(name="n" * 201),
        lambda d: d.update(source="tab\t"),
        lambda d: d.update(name=["n"]),
        lambda d: d.update(format="intnn-model/2"),
        lambda d: d.update(format=1),
        lambda d: d.pop("format"),
        lambda d: d.pop("input"),
        lambda d: d.pop("layers"),
        lambda d: d.update(extra=1),
        lambda d: d.update(layers={}),
        lambda d: d.update(layers=[]),
        lambda d: d["layers"].append(5),
        lambda d: d["layers"].append(d["layers"][0]),
        lambda d: d["input"].pop("min"),
        lambda d: d["input"].update(scale=1),
        lambda d: d["input"].update(min="0"),
        lambda d: d["input"].update(max=128),
        lambda d: d["input"].update(zero_point=True),
        lambda d: d["layers"][0].pop("bias"),
        lambda d: d["layers"][0].update(activation="relu"),
        lambda d: d["layers"][0].update(type="conv"),
        lambda d: d["layers"][0].update(bias=5),
        lambda d: d["layers"][0].update(bias=["5"]),
        lambda d: d["layers"][0].update(bias=[2**31]),
        lambda d: d["layers"][0].update(bias=[True]),
        lambda d: d["layers"][0].update(weights=[[1, -2], [3]], bias=[1, 2]),
        lambda d: d["layers"][0].update(weights=[[1, 200]]),
        lambda d: d["layers"][0].update(weights=[1]),
        lambda d: d["layers"][0]["requantize"].pop("exponent"),
        lambda d: d["layers"][0]["requantize"].update(shift=1),
        lambda d: d["layers"][0]["requantize"].update(family="float"),
        lambda d: d["layers"][0]["requantize"].update(rounding="nearest"),
        lambda d: d["layers"][0]["requantize"].update(multiplier=[2**30]),
        lambda d: d["layers"][0]["requantize"].update(multiplier="1"),
        lambda d: d["layers"][0].update(requantize=fixed(0, 0, 3, 1, 1)),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-7", "weights": "0x1.8p-5", "output": "0x1p+0"}),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-7", "weights": ["0x1.8p-5"], "output": "0x1p+0"}),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-7", "weights": "0x1.80p-5", "output": "0x1p+0"}),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-7", "weights": "0.5", "output": "0x1p+0"}),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-07", "weights": "0x1.8p-5", "output": "0x1p+0"}),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-7", "weights": "0x1.8p-5", "output": "0x1p-0"}),
        lambda d: d["layers"][0].update(scales={"input": "0x1p-7", "weights": "0x1p-5"}),
        lambda d: d["layers"][0].update(bias=[HIGH]),
    )
    for edit in edits:
        yield "member", {"text": _edited(edit)}
    for wrong in ("{}", "[1]", "5", "", "{", text[:-1], text + "x", f"[{text}]", "'a'", "{'a':1}", '{"a":NaN}', "nul"):
        yield "syntax", {"text": wrong}
    for number in ("5.0", "5e0", "05", "+5", "0x5", "1234567890123456789012", "-1234567890123456789", "Infinity"):
        yield "number", {"text": text.replace('"bias":[5]', f'"bias":[{number}]')}
    for number in ("-0", "123456789012345678", "1234567890123456789"):  # the longest that is a number, and one more
        yield "number", {"text": text.replace('"bias":[5]', f'"bias":[{number}]')}
    yield "twice", {"text": text.replace('"zero_point":0', '"zero_point":0,"zero_point":0', 1)}
    yield "twice", {"text": text[:-1] + ',"layers":[]}'}
    yield "layout", {"text": json.dumps(_tiny(), indent=1) + "\n"}
    yield "layout", {"text": "\t " + text + "\r\n"}


DOCUMENTS: tuple[Args, ...] = (
    {}, {"a": 1}, {"b": [1, -2], "a": {"z": "x", "y": 0}}, {"A": 1, "a": 2, "_": 3, "10": 4, "2": 5},
    {"s": 'q"\\/\n\t\u0001'}, {"n": [0, -1, HIGH, LOW, 10**17]}, {"t": True, "f": False, "e": [], "o": {}},
    _tiny(), _tiny(name="tiny", sha256="0" * 64),
)  # fmt: skip


def documents() -> Iterator[Case]:
    for document in DOCUMENTS:
        yield "document", {"document": document}


def golden() -> Iterator[Case]:
    args = {"x": -3, "s": 1}
    for clause, outcome in (
        ("shift.floor", {"expected": -2}), ("shift.floor", {"expected": -1}), ("shift.floor", {"expected": 0}),
        ("shift.floor", {"error": "contract"}), ("shift.floor", {"expected": [-2]}),
        ("shift.half-away", {"expected": -2}),
    ):  # fmt: skip
        yield "verdict", {"case": {"id": f"{clause}/1", "args": args, "flags": [], **outcome}}
    for error in ("contract", "contract.operand", "contract.int32", "model", "contr"):
        yield "error", {"case": {"id": "shift.floor/2", "args": {"x": 1, "s": 32}, "flags": [], "error": error}}
    yield "error", {"case": {"id": "shift.floor/2", "args": {"x": 1, "s": 32}, "flags": [], "expected": 0}}
    for wrong in ({"id": "shift.floor/1", "args": args, "flags": []}, {"args": args, "expected": -2, "flags": []},
                  {"id": "shift.floor/1", "args": args, "expected": -2, "error": "contract", "flags": []},
                  {"id": "shift.floor/1", "args": args, "expected": -2}):  # fmt: skip
        yield "member", {"case": wrong}


def levels() -> Iterator[Case]:
    yield from (("level", {"level": level}) for level in ("requantize", "layer", "network"))


def verdicts() -> Iterator[Case]:
    matrix = [[1, 2], [3, 4]]
    for expected, got in (
        (5, 5), (5, 6), (5, 7), ([], []), ([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [1, 3, 2]), ([1, 2, 3], [2, 2, 4]),
        (matrix, matrix), (matrix, [[1, 2], [3, 5]]), (matrix, [[0, 2], [9, 4]]), (matrix, [1, 2, 3, 4]),
        (matrix, [[1, 2, 3], [4, 5, 6]]), ([1, 2, 3, 4], matrix), ([1, 2], [1]), ([1], [1, 2]), (5, [5]), ([[5]], [5]),
        ([[1, 2], [3]], [[1, 2], [3]]), ([[1, 2], [3]], [[1, 2], [4]]), ([[1, 2], [3]], [[1], [2, 3]]),
        ([-128, 127], [127, -128]),
    ):  # fmt: skip
        yield "comparison", {"expected": expected, "got": got}
