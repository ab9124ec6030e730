"""The second beat in C: a function from the accumulator to the stored output."""

from __future__ import annotations

from intnn.emit.family import Family, plus, times
from intnn.emit.text import call

HELPERS = {
    "asr": """\
/* x / 2^s rounded down: the arithmetic shift, which >> need not be for x < 0. */
static int32_t {asr}(int32_t x, int s)
{{
    return x < 0 ? ~(~x >> s) : x >> s;
}}""",
    "clamp": """\
/* v moved into [low, high]. */
static int32_t {clamp}(int32_t v, int32_t low, int32_t high)
{{
    const int32_t raised = v < low ? low : v;

    return raised > high ? high : raised;
}}""",
    "high": """\
/* (x * m + carry * 2^15) / 2^31 rounded down, of the multiplier m = upper * 2^16 + lower. */
static int32_t {high}(int32_t x, int32_t upper, int32_t lower, int32_t carry)
{{
    const int32_t xh = {asr}(x, 15);
    const int32_t xl = x - xh * 32768;
    const int32_t inner = xh * lower + ((xl * lower) >> 15) + carry;
    const int32_t middle = xl * upper + {asr}(inner, 1);

    return xh * upper + {asr}(middle, 15);
}}""",
    "high_wide": """\
/*
 * (x * m + carry * 2^16) / 2^31 rounded down, of m = upper * 2^16 + lower, for any x.
 * The sum a + b of the middle products might not fit: it is taken in parts of 15 bits.
 */
static int32_t {high_wide}(
    int32_t x, int32_t upper, int32_t lower, int32_t carry)
{{
    const int32_t xh = {asr}(x, 16);
    const int32_t xl = x - xh * 65536;
    const int32_t a = xh * lower;
    const int32_t b = xl * upper;
    const int32_t ah = {asr}(a, 15);
    const int32_t bh = {asr}(b, 15);
    const int32_t low = (a - ah * 32768) + (b - bh * 32768);
    const int32_t rest = low + {asr}(xl * lower, 16) + carry;

    return xh * upper * 2 + (ah + bh + {asr}(rest, 15));
}}""",
}
"""Functions that any family may use, by name."""


def helpers(prefix: str, used: set[str]) -> list[str]:
    """The text of the helper functions ``used``."""
    names = {name: f"{prefix}_{name}" for name in HELPERS}
    return [text.format(**names) for name, text in HELPERS.items() if name in used]


def requantize(family: Family) -> str:
    """The function that takes an accumulator of ``family`` to the value stored."""
    lines = []
    first = family.layers[0]

    def assign(value: str) -> None:
        if value != "acc":
            lines.append(f"    acc = {value};")

    def shifted(amount: str) -> str:
        return "acc" if amount == "0" else f"{family.helper('asr')}(acc, {amount})"

    if first.rule == "fixed with bias":
        assign(plus(times("acc", family.number("multiplier")), family.number("bias")))
    elif first.rule == "fixed":
        assign(plus("acc", family.number("before")))
        assign(shifted(family.number("coarse", "int")))
        assign(plus(times("acc", family.number("multiplier")), family.number("rounding")))
    else:
        family.helper("asr")
        high = family.helper("high" if first.rule == "q31" else "high_wide")
        scaled = times("acc", family.number("scale"))
        assign(f"{high}({', '.join([scaled, *(family.number(n) for n in ('upper', 'lower', 'carry'))])})")
        away = family.number("away")
        if away != "0":
            assign(f"acc + {times(shifted('31'), away)}")
        assign(shifted(family.number("coarse", "int")))
        assign(plus("acc", family.number("rounding")))
    rescaled = shifted(family.number("shift", "int"))
    zero = family.number("zero")
    assign(plus(rescaled, zero))
    bounds = ["acc", family.number("low"), family.number("high")]
    lines.append(call(f"return ({first.target.ctype}){family.helper('clamp')}", bounds, ";", "    "))
    held = "bias" if first.rule == "fixed with bias" else "rounding constant"
    zero = f"the zero point is in the {held}" if zero == "0" else "add the zero point"
    parameters = ["int32_t acc", *(f"{ctype} {name}" for name, ctype in family.rescaling)]
    return "\n".join(
        [
            f"/* Requantize: multiply and shift; {zero}; clamp. */",
            call(f"static {first.target.ctype} {family.name('requantize')}", parameters, "", ""),
            "{",
            *lines,
            "}",
        ]
    )
