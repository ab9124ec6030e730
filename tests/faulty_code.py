"""A network in C99 as the author of a firmware writes it: plain loops over tables, and a requantization out of the
books (int32 multiply and shift; or a 31-bit multiplier and int64, as in TFLite's reference code).

The text of a layer is kept as its parts (:class:`Code`), so that :mod:`faulty` can put wrong ones in their places.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.model import Q31, Activation, Dense, Fixed, Network

Ints = npt.NDArray[np.int64]


@dataclass
class Code:
    """A layer. Text is C in which ``BIAS`` stands for the table of biases; numbers and tables are written into it."""

    layer: Dense
    source: Activation
    inputs: int
    outputs: int
    weights: Ints
    bias: Ints
    multiplier: Ints
    """(), or (outputs,) per channel; so are the next four."""
    shift: Ints
    """The right shift: s, or 31 - e of a q31 rule (32 and more where it shifts right after the multiplication)."""
    round: Ints
    pre_round: Ints
    pre_shift: Ints
    rounding: str
    """``as given`` (the constants of a fixed rule), ``single``, ``double``, ``upup``, or another's name."""
    zero: int
    add: int
    low: int
    high: int
    neuron: int = -1
    x: str = "x[i]"
    first: str = "0"
    last: str = "INPUTS"
    w: str = "o * INPUTS + i"
    weight: str = "(int32_t)"
    weights_sign: str = ""
    b: str = "BIAS[o]"
    bias_type: str = "int32_t"
    acc_type: str = "int32_t"
    hold: str = ""
    channel: str = "o"
    logical: bool = False
    clamps: bool = True
    clamp_first: bool = False
    y: str = "o"
    rows: str = "OUTPUTS"
    after: str = ""

    @property
    def rule(self) -> Fixed | Q31:
        """The right requantization."""
        assert isinstance(self.layer.requantize, Fixed | Q31)
        return self.layer.requantize

    @property
    def output(self) -> Activation:
        """The right output."""
        return self.layer.output

    @property
    def per_channel(self) -> bool:
        """Whether some constant is a table."""
        numbers = (self.multiplier, self.shift, self.round, self.pre_round, self.pre_shift)
        return any(v.ndim for v in numbers)


def layer_code(net: Network, index: int) -> Code:
    """Layer ``index`` as it should be."""
    layer, source = net.layers[index], net.inputs[index]
    rule, out = layer.requantize, layer.output
    if isinstance(rule, Fixed):
        shift, rounding = np.asarray(rule.shift, np.int64), "as given"
        others = (rule.round, rule.pre_round, rule.pre_shift)
    else:
        assert isinstance(rule, Q31)
        shift, rounding = np.asarray(31 - np.asarray(rule.exponent), np.int64), rule.rounding
        others = (0, 0, 0)
    round_, pre_round, pre_shift = (np.asarray(v, np.int64) for v in others)
    outputs, inputs = layer.weights.shape
    return Code(
        layer,
        source,
        inputs,
        outputs,
        layer.weights.astype(np.int64),
        layer.bias.astype(np.int64),
        np.asarray(rule.multiplier, np.int64),
        shift,
        round_,
        pre_round,
        pre_shift,
        rounding,
        source.zero_point,
        out.zero_point,
        out.min,
        out.max,
    )


ROUND = {
    "floor": "return NAME_asr(x, s);",
    "ceil": "return NAME_asr(x + (((T)1 << s) - 1), s);",
    "toward-zero": "return x >= 0 ? x >> s : -(-x >> s);",
    "half-up": "return s > 0 ? NAME_asr(x + ((T)1 << (s - 1)), s) : x;",
    "half-down": "return s > 0 ? NAME_asr(x + ((T)1 << (s - 1)) - 1, s) : x;",
    "half-away": "const T half = s > 0 ? (T)1 << (s - 1) : 0;\n    "
    "return x >= 0 ? (x + half) >> s : -((-x + half) >> s);",
    "half-to-zero": "const T most = s > 0 ? ((T)1 << (s - 1)) - 1 : 0;\n    "
    "return x >= 0 ? (x + most) >> s : -((-x + most) >> s);",
    "half-even": "const T q = NAME_asr(x, s), twice = 2 * (x - q * ((T)1 << s)), whole = (T)1 << s;\n    "
    "return twice > whole || (twice == whole && (q & 1)) ? q + 1 : q;",
}
"""Bodies of ``T ROUND(T x, int s)``: x / 2^s, rounded. T is int32_t or int64_t."""

ASR = "static T NAME_asr(T x, int s)\n{\n    return x < 0 ? ~(~x >> s) : x >> s;\n}\n"

HIGH = """\
static int32_t NAME_high(int32_t a, int32_t b)
{
    return (int32_t)NAME_asr((int64_t)a * b + (1 << 30), 31);
}
"""

DIVIDE = """\
static int32_t NAME_divide(int32_t x, int n)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << n) - 1), rest = x & mask;
    return SHIFTED + (rest > (mask >> 1) + (x < 0));
}
"""
"""As in TFLite's reference code: by a power of two, to the nearest, halves away from zero."""


def program(net: Network, codes: list[Code], name: str) -> str:
    """The file: tables, a function a layer, and ``NAME_run``."""
    parts = ["#include <stdint.h>\n"]
    calls, x = [], "x"
    for k, code in enumerate(codes):
        parts.append(_layer(code, f"{name}_{k}"))
        last = k == len(codes) - 1
        y = "y" if last else f"a{k}"
        if not last:
            calls.append(f"    {code.output.type}_t {y}[{code.outputs}];\n")
        calls.append(f"    {name}_{k}_layer({x}, {y});\n")
        x = y
    head = f"void {name}_run(const {net.input.type}_t x[], {net.output.type}_t y[])"
    parts.append(f"{head};\n{head}\n{{\n{''.join(calls)}}}\n")
    return "\n".join(parts)


def _table(name: str, ctype: str, values: Iterable[Any]) -> str:
    cells = [str(v) if v != -(1 << 31) else "INT32_MIN" for v in values]
    rows = [", ".join(cells[i : i + 16]) for i in range(0, len(cells), 16)]
    return f"static const {ctype} {name}[{len(cells)}] = {{\n    " + ",\n    ".join(rows) + "\n};\n"


def _layer(c: Code, name: str) -> str:
    tables = [_table(f"{name}_w", "int8_t", c.weights.ravel().tolist())]
    if "BIAS" in c.b + c.hold:
        tables.append(_table(f"{name}_b", c.bias_type, c.bias.tolist()))

    def number(letter: str, value: Any, ctype: str = "int32_t", text: Any = str) -> str:
        """A constant: written where it is used, or a table with an entry a channel."""
        if np.ndim(value) == 0:
            return f"({literal})" if (literal := text(value)).startswith("-") else literal
        tables.append(_table(f"{name}_{letter}", ctype, map(text, value.tolist())))
        return f"{name}_{letter}[{c.channel}]"

    helpers, rescale = _rescale(c, number)
    product = f"({c.x}{_plus(-c.zero)}) * {c.weight}{name}_w[{c.w}]"
    sign = "-" if c.weights_sign else "+"
    narrow = c.acc_type != "int32_t"
    add = f"acc = ({c.acc_type})(acc {sign} {product});" if narrow else f"acc {sign}= {product};"
    bounds = f"if (v < {c.low}) v = {c.low};\n        if (v > {c.high}) v = {c.high};"
    plus = f"v += {c.add};" if c.add >= 0 else f"v -= {-c.add};"
    steps = [plus] if c.add else []
    if c.clamps:
        steps = [bounds, *steps] if c.clamp_first else [*steps, bounds]
    body = "\n        ".join([*([c.hold] if c.hold else []), *rescale, *steps])
    acc = f"({c.acc_type}){c.b}" if narrow else c.b
    text = f"""\
static void {name}_layer(const {c.source.type}_t x[], {c.output.type}_t y[])
{{
    for (int o = 0; o < {c.rows}; o++) {{
        {c.acc_type} acc = {acc};
        int32_t v;
        for (int i = {c.first}; i < {c.last}; i++) {{
            {add}
        }}
        {body}
        y[{c.y}] = ({c.output.type}_t)v;
    }}
{f"    {c.after}" if c.after else ""}
}}
""".replace("\n\n}", "\n}")
    whole = "\n".join(["".join(tables), *helpers, text])
    for before, after in (("INPUTS", c.inputs), ("OUTPUTS", c.outputs), ("BIAS", f"{name}_b"), ("NAME", name)):
        whole = whole.replace(before, str(after))
    return whole


def _plus(value: int) -> str:
    return "" if value == 0 else f" + {value}" if value > 0 else f" - {-value}"


def _function(rule: str, ctype: str) -> str:
    return f"static T NAME_rounded(T x, int s)\n{{\n    {ROUND[rule]}\n}}\n".replace("T ", f"{ctype} ").replace(
        "(T)", f"({ctype})"
    )


def _asr(ctype: str) -> str:
    return ASR.replace("T ", f"{ctype} ")


def _rescale(c: Code, number: Any) -> tuple[list[str], list[str]]:
    """The functions it needs, and the lines that give ``v`` from ``acc``."""
    if c.rounding in ("f64away", "fp32even", "trunc0", "rndnu"):
        return _real(c, number)
    if isinstance(c.rule, Fixed):
        return _fixed(c, number)
    m, s = number("m", c.multiplier), number("s", c.shift, "uint8_t")
    if c.rounding not in ("double", "upup", "single"):
        return [_asr("int64_t"), _function(c.rounding, "int64_t")], [
            f"v = (int32_t)NAME_rounded((int64_t)acc * {m}, {s});"
        ]
    if c.rounding == "single":  # as in CMSIS-NN: to one bit more, and then half up
        half = f"const int32_t doubled = (int32_t)NAME_asr((int64_t)acc * {m}, {s} - 1);"
        if c.logical:
            return [_asr("int64_t")], [half, "v = (int32_t)((uint32_t)(doubled + 1) >> 1);"]
        return [_asr("int64_t")], [half, "v = (int32_t)NAME_asr((int64_t)doubled + 1, 1);"]
    lines = [
        f"const int right = {s} > 31 ? {s} - 31 : 0, left = {s} < 31 ? 31 - {s} : 0;",
        f"v = NAME_high(acc * (1 << left), {m});",
    ]
    helpers = [_asr("int64_t"), HIGH]
    if c.rounding == "double":
        shifted = "(int32_t)((uint32_t)x >> n)" if c.logical else "(x < 0 ? ~(~x >> n) : x >> n)"
        return [*helpers, DIVIDE.replace("SHIFTED", shifted)], [*lines, "v = NAME_divide(v, right);"]
    lines.append("if (right > 0) v += 1 << (right - 1);")
    shifted = "(int32_t)((uint32_t)v >> right)" if c.logical else "v < 0 ? ~(~v >> right) : v >> right"
    return helpers, [*lines, f"v = {shifted};"]


def _fixed(c: Code, number: Any) -> tuple[list[str], list[str]]:
    s = number("s", c.shift, "uint8_t")
    m = "" if np.array_equal(c.multiplier, 1) else f" * {number('m', c.multiplier)}"
    p = number("p", c.pre_shift, "uint8_t") if c.pre_shift.any() else ""
    if c.rounding != "as given":
        inner = f"NAME_rounded(acc, {p})" if p else "acc"
        return [_asr("int32_t"), _function(c.rounding, "int32_t")], [f"v = NAME_rounded({inner}{m}, {s});"]
    before = f" + {number('q', c.pre_round)}" if c.pre_round.any() else ""
    inner = f"NAME_asr(acc{before}, {p})" if p else "acc"
    half = f" + {number('r', c.round)}" if c.round.any() else ""
    if c.logical:
        helpers = [_asr("int32_t")] if p else []
        return helpers, [f"v = (int32_t)((uint32_t)({inner}{m}{half}) >> {s});"]
    return [_asr("int32_t")], [f"v = NAME_asr({inner}{m}{half}, {s});"]


def _real(c: Code, number: Any) -> tuple[list[str], list[str]]:
    """Roundings of float products, each operation in a statement of its own; and XNNPACK's of a 24-bit mantissa."""
    scales = c.layer.scales
    wide = c.rounding == "f64away"
    if scales is None:
        shift = c.shift + c.pre_shift
        real: Any = np.asarray(c.multiplier * 2.0**-shift)
        real = real if wide else real.astype(np.float32).astype(np.float64)
    elif wide:
        real = np.asarray(scales.input * np.asarray(scales.weights) / scales.output)
    else:
        product = np.float32(scales.input) * np.asarray(scales.weights, np.float32)
        real = np.asarray(product / np.float32(scales.output), np.float64)
    if c.rounding == "rndnu":
        fraction, exponent = np.frexp(real)
        t, n = (fraction * (1 << 24)).astype(np.int64), 24 - exponent.astype(np.int64)
        mantissa, shift_ = number("t", t), number("n", n, "uint8_t")
        line = f"v = (int32_t)NAME_rounded((int64_t)acc * {mantissa}, {shift_});"
        return [_asr("int64_t"), _function("half-up", "int64_t")], [line]
    ctype, suffix = ("double", "") if wide else ("float", "f")
    scale = number("f", real, ctype, lambda v: float(v).hex() + suffix)
    lines = [f"const {ctype} exact = ({ctype})acc * {scale};", "v = (int32_t)exact;"]
    if c.rounding == "trunc0":
        return [], lines
    lines.append(f"const {ctype} rest = exact - ({ctype})v;")
    if c.rounding == "f64away":
        return [], [*lines, "if (rest >= 0.5) v++;", "if (rest <= -0.5) v--;"]
    return [], [
        *lines,
        "if (rest > 0.5f || (rest == 0.5f && v % 2 != 0)) v++;",
        "if (rest < -0.5f || (rest == -0.5f && v % 2 != 0)) v--;",
    ]
