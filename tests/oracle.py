"""The second opinion: every operation of the specification over unbounded integers and fractions.

Written from the clauses' definitions, not from the tricks that make them fit int32; imports nothing of intnn and
no NumPy, so that agreement means something. A method is named after its clause (``shift.half-up`` is ``shift_half_up``)
and takes the operation's arguments. Contracts are decided here, too: each check has a name, so that
tests/mutants.py can make an oracle that lacks it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any, NoReturn

LOW, HIGH = -(2**31), 2**31 - 1
TYPES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
VALUE, FIELD, SYNTAX = "model.value", "file.field", "file.syntax"
HALF = Fraction(1, 2)
FLOAT32, FLOAT64 = (24, -149), (53, -1074)  # bits of the significand, exponent of the smallest value

Rounding = Callable[[Fraction], int]


class RejectedError(Exception):
    """The specification gives no result; ``code`` says why and ``check`` which check found out."""

    def __init__(self, code: str, check: str) -> None:
        super().__init__(code, check)
        self.code, self.check = code, check


def floor(q: Fraction) -> int:
    return math.floor(q)


def half_up(q: Fraction) -> int:
    return math.floor(q + HALF)


def half_down(q: Fraction) -> int:
    return math.ceil(q - HALF)


def half_away(q: Fraction) -> int:
    return math.floor(q + HALF) if q >= 0 else math.ceil(q - HALF)


def half_even(q: Fraction) -> int:
    return round(q)


def toward_zero(q: Fraction) -> int:
    return math.trunc(q)


@cache  # mutants ask for the same again and again
def to_float(q: Fraction, kind: tuple[int, int]) -> Fraction:
    """The float nearest to ``q``, ties to even: the result of one IEEE 754 operation. Overflow does not occur here."""
    if not q:
        return q
    exponent = q.numerator.bit_length() - q.denominator.bit_length()
    exponent -= abs(q) < Fraction(2) ** exponent  # now 2^exponent <= |q| < 2^(exponent+1)
    step = Fraction(2) ** max(exponent - kind[0] + 1, kind[1])
    return round(q / step) * step


@cache
def from_hex(text: str) -> Fraction:
    return Fraction(float.fromhex(text))


def to_hex(q: Fraction) -> str:
    """C's spelling, without trailing zeros."""
    mantissa, exponent = float(q).hex().split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent


def per_channel(value: Any, j: int) -> Any:
    return value[j] if isinstance(value, list) else value


def values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class Oracle:
    """One method a clause; the others are steps that mutants replace."""

    def run(self, op: str, args: dict[str, Any]) -> Any:
        """The result of ``op``; raises :class:`RejectedError`."""
        return getattr(self, op.replace(".", "_").replace("-", "_"))(**args)

    # --- contracts

    def require(self, check: str, holds: bool, code: str = "contract.operand") -> None:
        if not holds:
            raise RejectedError(code, check)

    def within(self, check: str, value: Any, low: int, high: int, code: str = "contract.operand") -> None:
        self.require(check, type(value) is int and low <= value <= high, code)

    def words(self, *operands: Any) -> None:
        for operand in operands:
            self.within("operand", operand, LOW, HIGH)

    def int32(self, value: int) -> int:
        """A result or intermediate of the specification, which must be in int32."""
        self.require("int32", LOW <= value <= HIGH, "contract.int32")
        return value

    def conventions_contract(self, value: int) -> int:
        return self.int32(value)

    # --- arithmetic

    def arithmetic_multiply(self, x: int, y: int) -> int:
        self.words(x, y)
        return self.int32(x * y)

    def arithmetic_add(self, x: int, y: int) -> int:
        self.words(x, y)
        return self.int32(x + y)

    def arithmetic_shift(self, x: int, s: int) -> int:
        return self.shift(x, s, floor)

    def shift_floor(self, x: int, s: int) -> int:
        return self.shift(x, s, floor)

    def shift_half_up(self, x: int, s: int) -> int:
        return self.shift(x, s, half_up)

    def shift_half_away(self, x: int, s: int) -> int:
        return self.shift(self.not_least(x), s, half_away)

    def shift_half_even(self, x: int, s: int) -> int:
        return self.shift(self.not_least(x), s, half_even)

    def shift_toward_zero(self, x: int, s: int) -> int:
        return self.shift(x, s, toward_zero)

    def shift(self, x: int, s: int, rounding: Rounding) -> int:
        self.words(x)
        self.within("shift", s, 0, 31)
        return self.shifted(x, s, rounding)

    def shifted(self, x: int, s: int, rounding: Rounding) -> int:
        return rounding(Fraction(x, 2**s))

    def not_least(self, x: int) -> int:
        self.require("least", x != LOW)
        return x

    def apart(self, v: int, a: int) -> None:
        """``v - a``, which stands for ``v + a * -1``, and its negative lie in int32."""
        self.require("negatable", a != LOW, "contract.int32")
        self.require("difference", abs(v - a) <= HIGH, "contract.int32")

    def arithmetic_max(self, v: int, a: int) -> int:
        self.words(v, a)
        self.apart(v, a)
        return self.larger(v, a)

    def arithmetic_min(self, v: int, a: int) -> int:
        self.words(v, a)
        self.apart(v, a)
        return self.smaller(v, a)

    def larger(self, v: int, a: int) -> int:
        return max(v, a)

    def smaller(self, v: int, a: int) -> int:
        return min(v, a)

    def arithmetic_clamp(self, v: int, low: int, high: int) -> int:
        self.words(v, low, high)
        self.require("order", low <= high)
        self.apart(v, low)
        self.apart(max(v, low), high)
        return self.clamped(v, low, high)

    def clamped(self, v: int, low: int, high: int) -> int:
        return min(max(v, low), high)

    def arithmetic_saturate(self, v: int, type: str) -> int:
        self.words(v)
        self.require("type", type in TYPES)
        self.apart(v, TYPES[type][0])
        return self.saturated(v, type)

    def saturated(self, v: int, type: str) -> int:
        return min(max(v, TYPES[type][0]), TYPES[type][1])

    def arithmetic_high_multiply(self, x: int, m: int, n: int) -> int:
        self.words(x)
        self.within("multiplier", m, 0, HIGH)
        self.within("nudge", n, 0, 2**14)
        return self.int32(self.high(x, m, n))

    def high(self, x: int, m: int, n: int) -> int:
        return math.floor(Fraction(x * m + n * 2**16, 2**31))

    # --- requantization

    def requantize_fixed(
        self, acc: int, pre_round: int, pre_shift: int, multiplier: int, round: int, shift: int
    ) -> int:
        self.words(acc)
        self.within("multiplier", multiplier, 1, HIGH)
        self.within("shift", shift, 0, 31)
        self.within("shift", pre_shift, 0, 31)
        self.within("round", round, 0, 2**shift - 1)
        self.within("round", pre_round, 0, 2**pre_shift - 1)
        return self.fixed(acc, pre_round, pre_shift, multiplier, round, shift)

    def fixed(self, acc: int, rp: int, p: int, m: int, rs: int, s: int) -> int:
        product = self.int32(floor(Fraction(self.int32(acc + rp), 2**p)) * m)
        return floor(Fraction(self.int32(product + rs), 2**s))

    def requantize_single(self, acc: int, multiplier: int, exponent: int) -> int:
        return self.q31(acc, multiplier, exponent, self.single)

    def requantize_double(self, acc: int, multiplier: int, exponent: int) -> int:
        return self.q31(acc, multiplier, exponent, self.double)

    def requantize_upup(self, acc: int, multiplier: int, exponent: int) -> int:
        return self.q31(acc, multiplier, exponent, self.upup)

    def q31(self, acc: int, m: int, e: int, steps: Callable[[int, int, int], int]) -> int:
        self.words(acc)
        self.require("multiplier", m == 0 or 2**30 <= m <= HIGH)
        self.within("exponent", e, -31, 30)
        return self.scaled(acc, m, e, steps)

    def scaled(self, acc: int, m: int, e: int, steps: Callable[[int, int, int], int]) -> int:
        """``steps`` on the accumulator after the left shift, the multiplier and the right shift."""
        return steps(self.int32(acc * 2 ** max(e, 0)), m, max(-e, 0))

    def single(self, x: int, m: int, r: int) -> int:
        return half_up(Fraction(x * m, 2 ** (31 + r)))

    def double(self, x: int, m: int, r: int) -> int:
        return half_away(Fraction(half_up(Fraction(x * m, 2**31)), 2**r))

    def upup(self, x: int, m: int, r: int) -> int:
        return half_up(Fraction(half_up(Fraction(x * m, 2**31)), 2**r))

    # --- layers

    def dense_accumulate(self, x: list[int], zero_point: int, weights: list[int], bias: int) -> int:
        for value in [*x, zero_point]:
            self.within("input", value, -32768, 32767)
        for w in weights:
            self.within("weights", w, -128, 127)
        self.words(bias)
        self.require("length", len(x) == len(weights))
        for end in self.partial_sums(bias, [(x_i - zero_point) * w for x_i, w in zip(x, weights, strict=False)]):
            self.int32(end)
        return self.int32(self.accumulate(x, zero_point, weights, bias))

    def accumulate(self, x: list[int], zero_point: int, weights: list[int], bias: int) -> int:
        return bias + sum((x_i - zero_point) * w for x_i, w in zip(x, weights, strict=True))

    def dense_output(self, v: int, zero_point: int, min: int, max: int) -> int:
        self.words(v)
        for value in (zero_point, min, max):
            self.within("activation", value, -32768, 32767)
        self.require("order", min <= max)
        return self.output(v, zero_point, min, max)

    def output(self, v: int, zero_point: int, low: int, high: int) -> int:
        y = self.int32(v + zero_point)
        self.apart(y, low)
        self.apart(max(y, low), high)
        return self.clamped(y, low, high)

    def rescale(self, acc: int, layer: dict[str, Any], j: int) -> int:
        """The accumulator of neuron ``j`` requantized, before the zero point."""
        r = {name: self.constant(value, j) for name, value in layer["requantize"].items()}
        if r["family"] == "fixed":
            return self.fixed(acc, r["pre_round"], r["pre_shift"], r["multiplier"], r["round"], r["shift"])
        return self.scaled(acc, r["multiplier"], r["exponent"], getattr(self, r["rounding"]))

    def constant(self, value: Any, j: int) -> Any:
        return per_channel(value, j)

    def neuron(self, layer: dict[str, Any], j: int) -> tuple[list[int], int]:
        return layer["weights"][j], layer["bias"][j]

    def network_input(self, model: dict[str, Any], x: list[Any]) -> str:
        self.read(model)
        inputs, source = len(model["layers"][0]["weights"][0]), model["input"]
        self.require("length", len(x) == inputs, "input.shape")
        self.require("integers", all(type(v) is int for v in x), "input.type")
        for value in x:
            self.require("declared-range", source["min"] <= value <= source["max"], "input.range")
        return "valid"

    def network_run(self, model: dict[str, Any], x: list[int]) -> dict[str, list[list[int]]]:
        self.network_input(model, x)
        traces, source = [], model["input"]
        for layer in model["layers"]:
            traces.append(self.layer(layer, source, x))
            x, source = traces[-1][1], layer["output"]
        return {"acc": [acc for acc, _ in traces], "y": [y for _, y in traces]}

    def layer(self, layer: dict[str, Any], source: dict[str, Any], x: list[int]) -> tuple[list[int], list[int]]:
        out = layer["output"]
        rows = range(len(layer["bias"]))
        acc = [self.accumulate(x, source["zero_point"], *self.neuron(layer, j)) for j in rows]
        scaled = [self.rescale(acc[j], layer, j) for j in rows]
        return acc, [self.output(v, out["zero_point"], out["min"], out["max"]) for v in scaled]

    # --- overflow

    def overflow_order(self, bias: int, terms: list[int]) -> list[int]:
        self.words(bias, *terms)
        return self.partial_sums(bias, terms)

    def partial_sums(self, bias: int, terms: list[int]) -> list[int]:
        """The least and greatest sum of any subset."""
        summands = [bias, *terms]
        return [sum(t for t in summands if t < 0), sum(t for t in summands if t > 0)]

    def overflow_endpoints(self, requantize: dict[str, Any], output: dict[str, Any], acc: list[int]) -> list[int]:
        self.words(*acc)
        self.require("order", acc[0] <= acc[1])
        self.rule(requantize)
        self.model_activation(**output)
        return self.ends({"requantize": requantize, "output": output}, 0, acc)

    def ends(self, layer: dict[str, Any], j: int, acc: list[int]) -> list[int]:
        out = layer["output"]
        return [self.output(self.rescale(a, layer, j), out["zero_point"], out["min"], out["max"]) for a in acc]

    def overflow_valid(self, model: dict[str, Any]) -> dict[str, Any]:
        self.read(model)
        return {"acc": self.prove(model)}

    def prove(self, model: dict[str, Any]) -> list[list[list[int]]]:
        """The accumulators' intervals; rejects a network that some input drives out of int32."""
        proof, source = [], model["input"]
        for layer in model["layers"]:
            proof.append([self.prove_neuron(layer, j, source) for j in range(len(layer["bias"]))])
            source = layer["output"]
        return proof

    def prove_neuron(self, layer: dict[str, Any], j: int, source: dict[str, Any]) -> list[int]:
        low, high = (value - source["zero_point"] for value in self.input_range(source))
        terms = [sorted((low * w, high * w)) for w in layer["weights"][j]]
        bias = layer["bias"][j]
        least = self.partial_sums(bias, [term[0] for term in terms])[0]
        greatest = self.partial_sums(bias, [term[1] for term in terms])[1]
        self.require("any-order", least >= LOW and greatest <= HIGH, "model.overflow")
        acc = [bias + sum(term[0] for term in terms), bias + sum(term[1] for term in terms)]
        try:
            self.ends(layer, j, acc)
        except RejectedError as rejected:
            raise RejectedError("model.overflow", rejected.check) from None
        return acc

    def input_range(self, source: dict[str, Any]) -> tuple[int, int]:
        return source["min"], source["max"]

    # --- models

    def model_activation(self, type: str, zero_point: int, min: int, max: int) -> str:
        self.require("type", type in TYPES, VALUE)
        low, high = TYPES.get(type, TYPES["int16"])
        for check, value in (("zero-point", zero_point), ("bounds", min), ("bounds", max)):
            self.within(check, value, low, high, VALUE)
        self.require("order", min <= max, VALUE)
        return "valid"

    def model_fixed(self, family: str, multiplier: Any, shift: Any, round: Any, pre_shift: Any, pre_round: Any) -> str:
        for m in values(multiplier):
            self.within("multiplier", m, 1, HIGH, VALUE)
        for amounts, constants in ((shift, round), (pre_shift, pre_round)):
            for s in values(amounts):
                self.within("shift", s, 0, 31, VALUE)
            for j in range(max(len(values(amounts)), len(values(constants)))):
                self.within("round", per_channel(constants, j), 0, 2 ** per_channel(amounts, j) - 1, VALUE)
        return "valid"

    def model_q31(self, family: str, multiplier: Any, exponent: Any, rounding: str) -> str:
        for m in values(multiplier):
            self.require("multiplier", type(m) is int and (m == 0 or 2**30 <= m <= HIGH), VALUE)
        for e in values(exponent):
            self.within("exponent", e, -31, 30, VALUE)
        self.require("rounding", rounding in ("single", "double", "upup"), VALUE)
        return "valid"

    def rule(self, r: dict[str, Any]) -> None:
        self.run("model." + r["family"], r)

    def model_dense(self, type: str, weights: Any, bias: Any, requantize: Any, output: Any, scales: Any = None) -> str:
        self.require("shape", bool(weights) and len({len(row) for row in weights}) == 1 and bool(weights[0]), VALUE)
        for w in (w for row in weights for w in row):
            self.within("weights", w, -128, 127, VALUE)
        self.require("length", len(bias) == len(weights), VALUE)
        for b in bias:
            self.within("bias", b, LOW, HIGH, VALUE)
        self.rule(requantize)
        for constants in [*requantize.values(), (scales or {}).get("weights")]:
            channels = len(constants) if isinstance(constants, list) else len(weights)
            self.require("channels", channels == len(weights), VALUE)
        for text in (text for value in (scales or {}).values() for text in values(value)):
            scale = from_hex(text)
            self.require("scales", 0 < scale < 2**128 and to_float(scale, FLOAT32) == scale, VALUE)
        self.model_activation(**output)
        return "valid"

    def model_network(self, model: dict[str, Any]) -> str:
        return self.read(model)

    # --- files

    def file_model(self, text: str) -> str:
        return self.read(self.parse(text))

    def parse(self, text: str) -> Any:
        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            self.require("twice", len({name for name, _ in pairs}) == len(pairs), SYNTAX)
            return dict(pairs)

        def real(text: str) -> float:
            self.require("floats", False, SYNTAX)
            return float(text)

        def integer(text: str) -> int:
            self.require("digits", len(text.lstrip("-")) <= 18, SYNTAX)
            return int(text)

        def constant(text: str) -> NoReturn:
            raise RejectedError(SYNTAX, "json")

        try:
            document = json.loads(
                text, object_pairs_hook=members, parse_float=real, parse_int=integer, parse_constant=constant
            )
        except json.JSONDecodeError:
            raise RejectedError(SYNTAX, "json") from None
        self.require("object", isinstance(document, dict), SYNTAX)
        return document

    def read(self, model: Any) -> str:
        """Everything a document must be to be executed, sound or not by a stated hash."""
        self.require("format", model.get("format") == "intnn-model/1", "file.version")
        self.members(model, "format input layers", "name source sha256")
        self.kinds(model, {"input": dict, "layers": list, "name": str, "source": str, "sha256": str})
        self.activation_fields(model["input"])
        self.model_activation(**model["input"])
        for layer in model["layers"]:
            self.layer_fields(layer)
            self.model_dense(**layer)
        self.require("layers", bool(model["layers"]), VALUE)
        for name in ("name", "source"):
            self.require("name", bool(re.fullmatch(r"[ -~]{1,200}", model.get(name, "x"))), VALUE)
        for before, after in zip(model["layers"], model["layers"][1:], strict=False):
            self.require("chain", len(before["weights"]) == len(after["weights"][0]), "model.chain")
        if "sha256" in model:
            self.require("hash", model["sha256"] == self.file_hash(model), "file.hash")
        self.prove(model)
        return "valid"

    def members(self, value: Any, required: str, optional: str = "") -> None:
        self.require("kind", isinstance(value, dict), FIELD)
        self.require("missing", set(required.split()) <= value.keys(), FIELD)
        self.require("unknown", value.keys() <= {*required.split(), *optional.split()}, FIELD)

    def kinds(self, value: dict[str, Any], kinds: dict[str, type]) -> None:
        for name, kind in kinds.items():
            self.require("kind", name not in value or type(value[name]) is kind, FIELD)

    def integers(self, array: Any) -> None:
        self.require("kind", isinstance(array, list) and all(type(v) is int for v in array), FIELD)

    def activation_fields(self, value: Any) -> None:
        self.members(value, "type zero_point min max")
        self.kinds(value, {"type": str, "zero_point": int, "min": int, "max": int})

    def layer_fields(self, layer: Any) -> None:
        self.members(layer, "type weights bias requantize output", "scales")
        self.require("kind", layer["type"] == "dense" and isinstance(layer["weights"], list), FIELD)
        for array in [*layer["weights"], layer["bias"]]:
            self.integers(array)
        self.require("rows", len({len(row) for row in layer["weights"]}) <= 1, FIELD)
        self.activation_fields(layer["output"])
        r = layer["requantize"]
        self.require("kind", isinstance(r, dict) and r.get("family") in ("fixed", "q31"), FIELD)
        numbers = "multiplier shift round pre_shift pre_round" if r["family"] == "fixed" else "multiplier exponent"
        self.members(r, f"family {numbers}" + ("" if r["family"] == "fixed" else " rounding"))
        self.kinds(r, {"rounding": str})
        for name in numbers.split():
            self.integers(values(r[name]))
        if "scales" in layer:
            self.members(layer["scales"], "input weights output")
            for text in (text for value in layer["scales"].values() for text in values(value)):
                spelled = isinstance(text, str) and re.fullmatch(
                    r"0x1(\.[0-9a-f]{0,12}[1-9a-f])?p(\+0|[+-][1-9][0-9]{0,3})", text
                )
                self.require("spelling", bool(spelled), FIELD)

    def file_canonical(self, document: Any) -> str:
        """Written out by hand, which says what is meant: sorted members, no space, plain numbers."""
        if isinstance(document, dict):
            pairs = (f"{self.file_canonical(name)}:{self.file_canonical(document[name])}" for name in sorted(document))
            return "{" + ",".join(pairs) + "}"
        if isinstance(document, list):
            return "[" + ",".join(self.file_canonical(item) for item in document) + "]"
        if isinstance(document, bool):
            return "true" if document else "false"
        if isinstance(document, int):
            return str(document)
        escapes = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return '"' + "".join(escapes.get(c, c if c >= " " else f"\\u{ord(c):04x}") for c in document) + '"'

    def file_hash(self, document: dict[str, Any]) -> str:
        bare = {name: value for name, value in document.items() if name != "sha256"}
        return hashlib.sha256(self.file_canonical(bare).encode("ascii")).hexdigest()

    def file_golden(self, case: dict[str, Any]) -> Any:
        self.require("kind", isinstance(case, dict), FIELD)
        self.require("missing", {"id", "args", "flags"} <= case.keys(), FIELD)
        self.require("outcome", ("expected" in case) != ("error" in case), FIELD)
        try:
            got = self.run(case["id"].partition("/")[0], case["args"])
        except RejectedError as rejected:
            got = "error " + rejected.code
        if "expected" in case:
            return self.conform_verdict(case["expected"], got)
        wanted = "error " + case["error"]
        if isinstance(got, str) and (got + ".").startswith(wanted + "."):
            return "pass"
        return {"verdict": "mismatch", "index": [], "expected": wanted, "got": got}

    # --- conformance

    def conform_levels(self, level: str) -> list[str]:
        requantize = ["dense.output", *(f"requantize.{rule}" for rule in ("double", "fixed", "single", "upup"))]
        layer = ["dense.accumulate", *requantize]
        return {"requantize": requantize, "layer": layer, "network": sorted([*layer, "network.run"])}[level]

    def conform_verdict(self, expected: Any, got: Any) -> Any:
        pairs: list[tuple[list[int], Any, Any]] = [([], expected, got)]  # index, and what stands there
        while pairs:
            index, e, g = pairs.pop()
            if self.shape(e) != self.shape(g):
                return {"verdict": "mismatch", "index": index, "expected": self.shape(e), "got": self.shape(g)}
            if isinstance(e, list):
                pairs += [([*index, i], e[i], g[i]) for i in reversed(range(len(e)))]
            elif e != g:
                return {"verdict": "mismatch", "index": index, "expected": e, "got": g}
        return "pass"

    def shape(self, value: Any) -> list[int]:
        if not isinstance(value, list):
            return []
        shapes = [self.shape(item) for item in value]
        return [len(value), *shapes[0]] if shapes and all(s == shapes[0] for s in shapes) else [len(value)]

    # --- protocol

    def line_of(self, *words: Any) -> str:
        return " ".join(map(str, words))

    def request_id(self, first: int, k: int) -> int:
        return (first + k) % 65536

    def fits(self, text: str, line: int) -> bool:
        return len(text) <= line

    def protocol_line(self, id: int, command: list[Any], values: list[int], line: int) -> list[str]:
        lines: list[str] = []
        while not self.fits(self.line_of(self.request_id(id, len(lines)), *command, *values), line):
            head = self.request_id(id, len(lines)), "x"
            counts = [n for n in range(len(values) + 1) if self.fits(self.line_of(*head, *values[:n]), line)]
            lines.append(self.line_of(*head, *values[: counts[-1]]))
            values = values[counts[-1] :]
        return [*lines, self.line_of(self.request_id(id, len(lines)), *command, *values)]

    def decimal(self, word: str, low: int, high: int) -> int | None:
        """The integer that a word is, if it lies between the bounds."""
        digits = word[1:] if word[:1] == "-" else word
        if not digits or set(digits) - set("0123456789") or len(digits) > 10:
            return None
        return int(word) if low <= int(word) <= high else None

    def value(self, word: str) -> int | None:
        return self.decimal(word, LOW, HIGH)

    def stripped(self, text: str) -> str:
        return text.replace("\r", "").rstrip(" ")

    def protocol_reply(self, text: str) -> Any:
        text = self.stripped(text)
        if text == "" or text[0] == "#":
            return "debug"
        number, *rest = text.split(" ")
        id = self.reply_id(number)
        if id is None or not rest or not all(" " <= c <= "~" for c in text):
            return "garbage"
        return self.reply(id, rest[0], rest[1:]) or "garbage"

    def reply_id(self, word: str) -> int | None:
        return self.decimal(word, 0, 65535)

    def reply(self, id: int, kind: str, words: list[str]) -> Any:
        if kind in ("ok", "more"):
            found = [self.value(word) for word in words]
            return None if None in found else {"id": id, "kind": kind, "values": found}
        if kind == "skip":
            return None if words else {"id": id, "kind": kind}
        if kind == "error":
            return {"id": id, "kind": kind, "text": " ".join(words)}
        if kind != "intnn/1" or len(words) < 2:
            return None
        hash, line = words[0], self.longest(words[1])
        if line is None or not (hash == "-" or (len(hash) == 16 and set(hash) <= set("0123456789abcdef"))):
            return None
        known = [name for name in ("run", "layer", "dense", "requantize") if name in words[2:]]
        return {"id": id, "kind": "hello", "hash": hash, "line": line, "operations": known}

    def longest(self, word: str) -> int | None:
        return self.decimal(word, 63, 4095)

    def protocol_device(self, model: dict[str, Any], lines: list[str]) -> list[str]:
        self.read(model)
        self.vector: list[int] = []
        return [said for line in lines for said in self.heard(model, line.replace("\r", ""))]

    def heard(self, model: dict[str, Any], line: str) -> list[str]:
        number, *words = line.split(" ")
        id = self.reply_id(number)
        if id is None:
            return self.silence()
        answer = self.carried_out(model, words[0] if words else "", words[1:])
        self.vector = self.kept(words[0] if words else "", answer)
        if not isinstance(answer, list):
            return [f"{self.echo(id)} {answer}"]
        return self.answered(self.echo(id), answer)

    def answered(self, id: int, values: list[int]) -> list[str]:
        """Cut where the line with one more value would be too long."""
        lines: list[str] = []
        while not self.fits(self.line_of(id, "ok", *values), 63):
            n = max(n for n in range(len(values)) if len(self.line_of(id, "more", *values[:n])) <= 63)
            lines, values = [*lines, self.line_of(id, "more", *values[:n])], values[n:]
        return [*lines, self.line_of(id, "ok", *values)]

    def silence(self) -> list[str]:
        return []

    def echo(self, id: int) -> int:
        return id

    def unknown(self) -> str:
        return "skip"

    def kept(self, command: str, answer: Any) -> list[int]:
        return self.vector if command == "x" and isinstance(answer, list) else []

    def before(self, command: str) -> list[int]:
        """The vector as the command finds it."""
        return [] if command == "hello" else self.vector

    def carried_out(self, model: dict[str, Any], command: str, words: list[str]) -> Any:
        """The values of the answer, or the rest of the line."""
        layers, needs = model["layers"], {"hello": 0, "x": 0, "run": 0, "layer": 1, "dense": 1, "requantize": 3}
        if command not in needs:
            return self.unknown()
        integers = [self.value(word) for word in words]
        arguments = integers[: needs[command]]
        self.vector = self.before(command)
        if None in integers or len(arguments) < needs[command]:
            return "error"
        self.vector = self.vector + [v for v in integers[needs[command] :] if v is not None]
        if len(self.vector) > max(len(layer["weights"][0]) for layer in layers):
            return "error"
        if command == "x":
            return []
        if command == "hello":
            hello = f"intnn/1 {self.file_hash(model)[:16]} 63 run layer dense requantize"
            return "error" if self.vector else hello
        return self.inferred(model, command, *(v for v in arguments if v is not None))

    def inferred(self, model: dict[str, Any], command: str, layer: int = -1, neuron: int = 0, acc: int = 0) -> Any:
        layers = model["layers"]
        sources = [model["input"], *(one["output"] for one in layers)]
        if command != "run" and not 0 <= layer < len(layers):
            return "error"
        if command == "requantize":
            if self.vector or not 0 <= neuron < len(layers[layer]["bias"]):
                return "error"
            out = layers[layer]["output"]
            v = self.rescale(acc, layers[layer], neuron)
            return [self.output(v, out["zero_point"], out["min"], out["max"])]
        first = layer if command == "dense" else 0
        if not self.complete(len(self.vector), len(layers[first]["weights"][0])):
            return "error"
        if command == "dense":
            return self.layer(layers[layer], sources[layer], self.vector)[1]
        return self.network_run(model, self.vector)["y"][layer]

    def complete(self, given: int, needed: int) -> bool:
        return given == needed

    # --- foreign profiles

    def scale(self, input: Fraction, weights: Fraction, output: Fraction) -> Fraction:
        """``(input * weights) / output``, each operation rounded to float32."""
        return to_float(to_float(input * weights, FLOAT32) / output, FLOAT32)

    def scales(self, *texts: str) -> list[Fraction]:
        """The three scales, known to lie in the foreign profiles' domain."""
        found = [from_hex(text) for text in texts]
        for scale in found:
            self.require("scales", 0 < scale < 2**128 and to_float(scale, FLOAT32) == scale, VALUE)
        scale = to_float(to_float(found[0] * found[1], FLOAT32) / found[2], FLOAT32)
        self.require("domain", Fraction(1, 2**32) <= scale < 256, VALUE)
        return found

    def foreign_f64away(self, acc: int, input: str, weights: str, output: str) -> int:
        self.words(acc)
        s_in, s_w, s_out = self.scales(input, weights, output)
        return self.far(self.rounded(self.chain(Fraction(acc), s_in, s_w, s_out), half_away))

    def chain(self, acc: Fraction, s_in: Fraction, s_w: Fraction, s_out: Fraction) -> Fraction:
        return to_float(acc * to_float(to_float(s_in * s_w, FLOAT64) / s_out, FLOAT64), FLOAT64)

    def foreign_fp32even(self, acc: int, input: str, weights: str, output: str) -> int:
        return self.far(self.rounded(self.product32(acc, input, weights, output), half_even))

    def foreign_trunc0(self, acc: int, input: str, weights: str, output: str) -> int:
        return self.far(self.rounded(self.product32(acc, input, weights, output), toward_zero))

    def product32(self, acc: int, input: str, weights: str, output: str) -> Fraction:
        self.words(acc)
        return self.scaled32(Fraction(acc), self.scale(*self.scales(input, weights, output)))

    def scaled32(self, acc: Fraction, scale: Fraction) -> Fraction:
        return to_float(to_float(acc, FLOAT32) * scale, FLOAT32)

    def foreign_rndnu(self, acc: int, input: str, weights: str, output: str) -> int:
        self.words(acc)
        exact = self.exact(Fraction(acc), self.scale(*self.scales(input, weights, output)))
        return self.far(self.rounded(exact, half_up))

    def far(self, v: int) -> int:
        """Saturated, far outside every output type."""
        return max(-(2**24), min(2**24, v))

    def exact(self, acc: Fraction, scale: Fraction) -> Fraction:
        return acc * scale

    def rounded(self, value: Fraction, rounding: Rounding) -> int:
        return rounding(value)

    def foreign_microflow(self, acc: int, input: str, weights: str, output: str, bias: int, zero_point: int) -> int:
        self.words(acc, bias)
        scales = self.scales(input, weights, output)
        shift = self.bias_term(to_float(Fraction(bias), FLOAT32), *scales)
        products = self.scaled32(Fraction(acc - bias), self.scale(*scales))
        return self.far(self.microflow(Fraction(zero_point), shift, products))

    def bias_term(self, bias: Fraction, s_in: Fraction, s_w: Fraction, s_out: Fraction) -> Fraction:
        return to_float(self.scale(s_in, s_w, s_out) * bias, FLOAT32)

    def microflow(self, zero: Fraction, bias: Fraction, products: Fraction) -> int:
        total = to_float(to_float(zero + bias, FLOAT32) + products, FLOAT32)
        return self.rounded(total, half_away) - int(zero)

    def foreign_quantize_multiplier(self, real: str) -> list[int]:
        value = from_hex(real)
        self.require("positive", value > 0, VALUE)
        exponent = math.frexp(float(value))[1]
        pair = self.normalized(self.rounded(value / Fraction(2) ** exponent * 2**31, half_away), exponent)
        self.require("large", pair[1] <= 30, VALUE)
        return pair

    def normalized(self, m: int, e: int) -> list[int]:
        if m == 2**31:
            m, e = 2**30, e + 1
        return [m, e] if e >= -31 else [0, 0]

    def foreign_real_multiplier(self, input: str, weights: str, output: str, float32_product: bool) -> str:
        s_in, s_w, s_out = from_hex(input), from_hex(weights), from_hex(output)
        return to_hex(to_float(to_float(s_in * s_w, FLOAT32 if float32_product else FLOAT64) / s_out, FLOAT64))

    def foreign_reduced15(self, multiplier: int) -> int:
        return self.reduced(multiplier)

    def reduced(self, m: int) -> int:
        return min(half_up(Fraction(m, 2**16)), 2**15 - 1) * 2**16

    def foreign_activation_bounds(
        self, activation: str, type: str, zero_point: int, scale: str, profile: str
    ) -> list[int]:
        low, high = TYPES[type]
        if activation == "NONE":
            return [low, high]
        if activation == "RELU":
            return [zero_point, high]
        steps = to_float(6 / from_hex(scale), FLOAT32)
        if profile == "fp32even":
            six = self.rounded(to_float(steps + zero_point, FLOAT32), half_even)
        else:
            six = zero_point + self.rounded(steps, half_away)
        return [zero_point, min(high, six)]


def outcome(op: str, args: dict[str, Any], oracle: Oracle | None = None) -> dict[str, Any]:
    """``{"expected": value}`` or ``{"error": code}``."""
    try:
        return {"expected": (oracle or Oracle()).run(op, args)}
    except RejectedError as rejected:
        return {"error": rejected.code}
