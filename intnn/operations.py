"""Every clause of the specification as an operation on JSON values, run by the interpreter.

An operation is named by its clause, takes JSON values and gives one, or raises what the clause rejects. The examples
of the specification are lines of these operations, and the golden vectors are cases of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from intnn import arithmetic, engines, interpreter, profiles
from intnn.arithmetic import INT32_MAX, INT32_MIN, Word
from intnn.bounds import require_valid
from intnn.checked import Int32
from intnn.conform import protocol
from intnn.conform.reference import Reference
from intnn.errors import ContractError, FileError, IntnnError, UsageError
from intnn.foreign import FOREIGN, Foreign
from intnn.formats.native import canonical, content_hash, hex_float, loads
from intnn.model import Q31, ROUNDINGS, TYPES, Activation, Dense, Fixed, Network, Scales

Json: TypeAlias = Any
Operation: TypeAlias = Callable[..., Json]


def execute(op: str, args: dict[str, Json]) -> Json:
    """The result of operation ``op``, a clause id, on ``args``.

    Raises :class:`IntnnError` with the code that the clause states, and :class:`UsageError` ``usage.option`` for an
    unknown operation or wrong names of arguments.
    """
    if op not in OPERATIONS:
        raise UsageError("usage.option", f"no operation {op[:40]!r}", expected="a clause id")
    try:
        inspect.signature(OPERATIONS[op]).bind(**args)
    except TypeError as error:
        raise UsageError("usage.option", f"{op}: {error}", expected=str(inspect.signature(OPERATIONS[op]))) from None
    return OPERATIONS[op](**args)


# --- arithmetic, on values that verify every step: [arithmetic.multiply], [arithmetic.add] and [arithmetic.shift] are
# the operators themselves

INT16, SHIFT, SYMMETRIC = TYPES["int16"], (0, 31), (-INT32_MAX, INT32_MAX)


def _operand(name: str, value: Json, low: int = INT32_MIN, high: int = INT32_MAX) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ContractError("contract.operand", f"{name} is {value}", expected=f"an integer within [{low}, {high}]")
    return value


def _words(function: Callable[..., Word], **ranges: tuple[int, int]) -> Operation:
    """``function`` as an operation on int32 operands, each in its range where one is given."""

    def operation(**args: Json) -> Json:
        words = {name: Int32(_operand(name, value, *ranges.get(name, ()))) for name, value in args.items()}
        return int(function(**words).values)

    operation.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # what inspect looks for
    return operation


def _maximum(v: Word, a: Word) -> Word:
    _verify_difference(v, a)
    return arithmetic.maximum(v, a)


def _minimum(v: Word, a: Word) -> Word:
    _verify_difference(v, a)
    return arithmetic.minimum(v, a)


def _verify_difference(v: Word, a: Word) -> Word:
    """Raises where ``v - a`` or its negative leaves int32; the derivations need only one of them."""
    return (v + a * -1) * -1


def _clamp(v: Word, low: Word, high: Word) -> Word:
    _operand("low", int(low.values), high=int(high.values))
    return _minimum(_maximum(v, low), high)


def _saturate(v: Json, type: Json) -> Json:
    """[arithmetic.saturate]"""
    if type not in TYPES:
        raise ContractError("contract.operand", f"type is {type!r}", expected="one of " + ", ".join(TYPES))
    low, high = TYPES[type]
    return int(_clamp(Int32(_operand("v", v)), Int32(low), Int32(high)).values)


# --- models


def _load(model: Json) -> Network:
    return loads(canonical(model))


def _rule(family: Json, **constants: Json) -> Fixed | Q31:
    families: dict[str, Callable[..., Fixed | Q31]] = {"fixed": Fixed, "q31": Q31}
    return families[family](**constants)


def _floats(value: Json) -> Any:
    return np.array([float.fromhex(v) for v in value]) if isinstance(value, list) else float.fromhex(value)


def _model_activation(type: Json, zero_point: Json, min: Json, max: Json) -> Json:
    Activation(type, zero_point, min, max)
    return "valid"


def _model_fixed(family: Json, multiplier: Json, shift: Json, round: Json, pre_shift: Json, pre_round: Json) -> Json:
    Fixed(shift, round, multiplier, pre_shift, pre_round)
    return "valid"


def _model_q31(family: Json, multiplier: Json, exponent: Json, rounding: Json) -> Json:
    Q31(multiplier, exponent, rounding)
    return "valid"


def _model_dense(type: Json, weights: Json, bias: Json, requantize: Json, output: Json, scales: Json = None) -> Json:
    floats = scales and Scales(**{name: _floats(value) for name, value in scales.items()})
    Dense(weights, bias, _rule(**requantize), Activation(**output), floats)
    return "valid"


def _model_network(model: Json) -> Json:
    _load(model)
    return "valid"


# --- execution


def _accumulate(x: Json, zero_point: Json, weights: Json, bias: Json) -> Json:
    if len(x) != len(weights):
        raise ContractError("contract.operand", f"{len(x)} inputs and {len(weights)} weights", expected="as many")
    zero = _operand("zero_point", zero_point, *INT16)
    words = [Int32(_operand(f"x[{i}]", v, *INT16)) for i, v in enumerate(x)]
    factors = [_operand(f"weights[{i}]", w, -128, 127) for i, w in enumerate(weights)]
    start = Int32(_operand("bias", bias))
    products = [int(((v + zero * -1) * w).values) for v, w in zip(words, factors, strict=True)]
    Int32(0) + np.array(_order(bias, products))  # any order: no sum of some of the summands leaves int32
    return int(interpreter.accumulate(words, zero, factors, start).values)


def _fixed(acc: Json, pre_round: Json, pre_shift: Json, multiplier: Json, round: Json, shift: Json) -> Json:
    for name, constant, amount in (("round", round, shift), ("pre_round", pre_round, pre_shift)):
        _operand(name, constant, 0, INT32_MAX >> (31 - _operand("shift", amount, *SHIFT)))
    return _words(arithmetic.fixed, multiplier=(1, INT32_MAX))(
        acc=acc, pre_round=pre_round, pre_shift=pre_shift, multiplier=multiplier, round=round, shift=shift
    )


def _q31(rounding: str) -> Operation:
    def rule(acc: Word, multiplier: Word, exponent: Word) -> Word:
        _operand("multiplier", int(multiplier.values), (1 << 30) * bool(multiplier.values), INT32_MAX)
        return arithmetic.q31(acc, multiplier, exponent, rounding)

    return _words(rule, exponent=(-31, 30))


def _requantized(acc: Word, rule: Fixed | Q31, output: Activation) -> Any:
    """What a neuron with this rule and output makes of the accumulator; on values that verify every step."""
    return interpreter.requantize(Int32(acc), Dense([[1]], [0], rule, output)).values  # type: ignore[arg-type]


def _output(v: Json, zero_point: Json, min: Json, max: Json) -> Json:
    _operand("v", v)
    for name, value in (("zero_point", zero_point), ("min", min), ("max", max)):
        _operand(name, value, *INT16)
    _operand("min", min, high=max)
    return int(_requantized(v, Fixed.floor(0), Activation("int16", zero_point, min, max)))


def _network_input(model: Json, x: Json) -> Json:
    """[network.input]"""
    engines.run(_load(model), x)
    return "valid"


def _network_run(model: Json, x: Json) -> Json:
    traces = engines.trace(_load(model), x)
    return {"acc": [t.acc.tolist() for t in traces], "y": [t.output.tolist() for t in traces]}


def _order(bias: Json, terms: Json) -> Json:
    """[overflow.order] the extreme sums of any subset."""
    summands = [_operand("a summand", v) for v in (bias, *terms)]
    return [sum(v for v in summands if v < 0), sum(v for v in summands if v > 0)]


def _endpoints(requantize: Json, output: Json, acc: Json) -> Json:
    _operand("acc_low", acc[0], high=_operand("acc_high", acc[1]))
    return _requantized(acc, _rule(**requantize), Activation(**output)).tolist()


def _valid(model: Json) -> Json:
    layers = require_valid(_load(model)).layers
    return {"acc": [np.stack([p.acc_low, p.acc_high], axis=1).tolist() for p in layers]}


# --- files and conformance


def _file_model(text: Json) -> Json:
    loads(text)
    return "valid"


def _file_hash(document: Json) -> Json:
    return content_hash({name: value for name, value in document.items() if name != "sha256"})


def judge(case: Json) -> Json:
    """[file.golden] ``"pass"``, or how the interpreter's result differs from what the case expects.

    Raises :class:`FileError` ``file.field`` for what is not a case.
    """
    if not isinstance(case, dict) or not {"id", "args", "flags"} <= case.keys():
        raise FileError("file.field", "a case without its members", expected="id, args and flags")
    if ("expected" in case) == ("error" in case):
        raise FileError("file.field", f"case {case['id']}", expected="either expected or error")
    try:
        got = execute(case["id"].partition("/")[0], case["args"])
    except IntnnError as error:
        got = f"error {error.code}"
    except (TypeError, ValueError, LookupError, AttributeError):  # arguments of a kind that the operation has not
        got = "error usage.option"
    if "expected" in case:
        return compare(case["expected"], got)
    wanted = f"error {case['error']}"
    if isinstance(got, str) and (got == wanted or got.startswith(wanted + ".")):
        return "pass"
    return _mismatch([], wanted, got)


def compare(expected: Json, got: Json) -> Json:
    """[conform.verdict] ``"pass"``, or the first difference: its index (names of members included) and both values."""
    return next(_differences([], expected, got), "pass")


def _differences(index: list[Json], expected: Json, got: Json) -> Iterator[Json]:
    if _shape(expected) != _shape(got):
        yield _mismatch(index, _shape(expected), _shape(got))
    elif isinstance(expected, list):
        for i, (e, g) in enumerate(zip(expected, got, strict=True)):
            yield from _differences([*index, i], e, g)
    elif isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        for name in sorted(expected):
            yield from _differences([*index, name], expected[name], got[name])
    elif type(expected) is not type(got) or expected != got:
        yield _mismatch(index, expected, got)


def _shape(value: Json) -> list[int]:
    """The lengths of nested lists, as deep as they are rectangular."""
    if not isinstance(value, list):
        return []
    shapes = [_shape(item) for item in value]
    return [len(value), *(shapes[0] if shapes and all(shape == shapes[0] for shape in shapes) else ())]


def _mismatch(index: list[Json], expected: Json, got: Json) -> Json:
    return {"verdict": "mismatch", "index": index, "expected": expected, "got": got}


# --- protocol


def _line(id: Json, command: Json, values: Json, line: Json) -> Json:
    return protocol.requests(id, command, values, line)


def _reply(text: Json) -> Json:
    """[protocol.reply] its members that say something, or what else the line is."""
    if not text.strip("\r ") or text.startswith("#"):
        return "debug"
    reply = protocol.parse_reply(text)
    if reply is None:
        return "garbage"
    members = {"ok": ("values",), "more": ("values",), "error": ("text",), "skip": ()}
    names = ("id", "kind", *members.get(reply.kind, ("hash", "line", "operations")))
    said = {**reply._asdict(), "hash": reply.text}
    return {name: list(said[name]) if isinstance(said[name], tuple) else said[name] for name in names}


def _device(model: Json, lines: Json) -> Json:
    """[protocol.device] what the device answers, but for the text of errors."""
    device = Reference(_load(model))
    said = [answer for line in lines for answer in device.answer(line)]
    return [" ".join(answer.split(" ")[:2]) if answer.split(" ")[1] == "error" else answer for answer in said]


_REQUANTIZE = ("dense.output", *(f"requantize.{name}" for name in sorted(("fixed", *ROUNDINGS))))
LEVELS = {
    "requantize": _REQUANTIZE,
    "layer": ("dense.accumulate", *_REQUANTIZE),
    "network": tuple(sorted(("dense.accumulate", *_REQUANTIZE, "network.run"))),
}
"""[conform.levels] the clauses whose golden files an implementation of each level passes."""


# --- foreign profiles (informative annex)


def _foreign(name: str) -> Operation:
    def rule(acc: Json, input: Json, weights: Json, output: Json) -> Json:
        return _microflow(acc, input, weights, output, 0, 0, name)

    return rule


def _microflow(
    acc: Json, input: Json, weights: Json, output: Json, bias: Json, zero_point: Json, name: str = "microflow"
) -> Json:
    scales = Scales(_floats(input), _floats(weights), _floats(output))
    layer = Dense([[1]], [bias], Foreign(name), Activation("int16", zero_point), scales)  # type: ignore[arg-type]
    return int(Foreign(name).rescale(np.array([[_operand("acc", acc)]]), layer)[0, 0])


def _real_multiplier(input: Json, weights: Json, output: Json, float32_product: Json) -> Json:
    scales = Scales(_floats(input), _floats(weights), _floats(output))
    return hex_float(profiles.real_multipliers(scales, float32_product=float32_product)[0])


def _activation_bounds(activation: Json, type: Json, zero_point: Json, scale: Json, profile: Json) -> Json:
    return list(profiles.activation_bounds(profile, activation, type, zero_point, _floats(scale)))


OPERATIONS: dict[str, Operation] = {
    "conventions.contract": lambda value: int((Int32(0) + value).values),
    "arithmetic.multiply": _words(lambda x, y: x * y),
    "arithmetic.add": _words(lambda x, y: x + y),
    "arithmetic.shift": _words(lambda x, s: x >> s, s=SHIFT),
    "shift.floor": _words(arithmetic.shift_floor, s=SHIFT),
    "shift.half-up": _words(arithmetic.shift_half_up, s=SHIFT),
    "shift.half-away": _words(arithmetic.shift_half_away, x=SYMMETRIC, s=SHIFT),
    "shift.half-even": _words(arithmetic.shift_half_even, x=SYMMETRIC, s=SHIFT),
    "shift.toward-zero": _words(arithmetic.shift_toward_zero, s=SHIFT),
    "arithmetic.max": _words(_maximum),
    "arithmetic.min": _words(_minimum),
    "arithmetic.clamp": _words(_clamp),
    "arithmetic.saturate": _saturate,
    "arithmetic.high-multiply": _words(arithmetic.high_multiply, m=(0, INT32_MAX), n=(0, 1 << 14)),
    "model.activation": _model_activation,
    "model.dense": _model_dense,
    "model.fixed": _model_fixed,
    "model.q31": _model_q31,
    "model.network": _model_network,
    "dense.accumulate": _accumulate,
    "requantize.fixed": _fixed,
    "requantize.single": _q31("single"),
    "requantize.double": _q31("double"),
    "requantize.upup": _q31("upup"),
    "dense.output": _output,
    "network.input": _network_input,
    "network.run": _network_run,
    "overflow.order": _order,
    "overflow.endpoints": _endpoints,
    "overflow.valid": _valid,
    "file.model": _file_model,
    "file.canonical": lambda document: canonical(document).decode("ascii"),
    "file.hash": _file_hash,
    "file.golden": lambda case: judge(case),
    "conform.levels": lambda level: list(LEVELS[level]),
    "conform.verdict": lambda expected, got: compare(expected, got),
    "protocol.line": _line,
    "protocol.reply": _reply,
    "protocol.device": _device,
    **{f"foreign.{name}": _foreign(name) for name in FOREIGN if name != "microflow"},
    "foreign.microflow": lambda acc, input, weights, output, bias, zero_point: _microflow(
        acc, input, weights, output, bias, zero_point
    ),
    "foreign.quantize-multiplier": lambda real: list(profiles.quantize_multiplier(_floats(real))),
    "foreign.real-multiplier": _real_multiplier,
    "foreign.reduced15": lambda multiplier: int(profiles.reduce_multiplier(np.array([multiplier]))[0]),
    "foreign.activation-bounds": _activation_bounds,
}
"""The operations, by clause."""
