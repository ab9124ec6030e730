"""C that people might have written for one network, in their own ways: all of it right.

The network is int8 6-5-3 with a ReLU; ``NETWORK`` is the model and ``SOURCES`` the C, by what is special about it.
"""

from __future__ import annotations

import numpy as np

from intnn import Activation, Dense, Fixed, Network

_RANDOM = np.random.default_rng(3)
_W0 = _RANDOM.integers(-128, 128, (5, 6))
_W1 = _RANDOM.integers(-128, 128, (3, 5))
_B0 = _RANDOM.integers(-2000, 2000, 5)
_B1 = _RANDOM.integers(-2000, 2000, 3)

NETWORK = Network(
    Activation("int8", 3),
    (
        Dense(_W0, _B0, Fixed.half_up(17, 901), Activation("int8", -128)),
        Dense(_W1, _B1, Fixed.half_up(15, 90), Activation("int8", 5)),
    ),
    "by hand",
)


def table(name: str, values: np.ndarray, ctype: str) -> str:
    """A C table."""
    dims = "".join(f"[{n}]" for n in values.shape)
    body = str(values.tolist()).replace("[", "{").replace("]", "}")
    return f"static const {ctype} {name}{dims} = {body};\n"


TABLES = (
    table("w0", _W0, "int8_t") + table("b0", _B0, "int32_t") + table("w1", _W1, "int8_t") + table("b1", _B1, "int32_t")
)

ASR = """
static int32_t asr(int32_t x, int s) { return x < 0 ? ~(~x >> s) : x >> s; }
"""

FINISH = """
static int8_t finish(int32_t acc, int32_t m, int s, int32_t z)
{
    int32_t v = asr(acc * m + ((int32_t)1 << (s - 1)), s) + z;
    if (v < -128) v = -128;
    if (v > 127) v = 127;
    return (int8_t)v;
}
"""

PLAIN = """
void run(const int8_t *x, int8_t *y)
{
    int8_t h[5];
    int o, i;
    for (o = 0; o < 5; o++) {
        int32_t acc = b0[o];
        for (i = 0; i < 6; i++) acc += (int32_t)w0[o][i] * (x[i] - 3);
        h[o] = finish(acc, 901, 17, -128);
    }
    for (o = 0; o < 3; o++) {
        int32_t acc = b1[o];
        for (i = 0; i < 5; i++) acc += (int32_t)w1[o][i] * (h[i] + 128);
        y[o] = finish(acc, 90, 15, 5);
    }
}
"""

START = "#include <stdint.h>\n"

_UNROLLED = "".join(
    "    {\n        int32_t acc = "
    + " + ".join(f"(int32_t){w} * (x[{i}] - 3)" for i, w in enumerate(row))
    + f" + ({b});\n        h[{o}] = finish(acc, 901, 17, -128);\n    }}\n"
    for o, (row, b) in enumerate(zip(_W0.tolist(), _B0.tolist(), strict=True))
)

SOURCES: dict[str, str] = {
    "plain loops": START + TABLES + ASR + FINISH + PLAIN,
    "early returns": START
    + TABLES
    + ASR
    + """
static int8_t finish(int32_t acc, int32_t m, int s, int32_t z)
{
    const int32_t v = asr(acc * m + ((int32_t)1 << (s - 1)), s) + z;
    if (v < INT8_MIN) { return INT8_MIN; }
    if (v > INT8_MAX) return INT8_MAX; else return (int8_t)v;
}
"""
    + PLAIN,
    "rounds by adding the bit shifted out": START
    + TABLES
    + ASR
    + """
static int8_t finish(int32_t acc, int32_t m, int s, int32_t z)
{
    const int32_t p = acc * m;
    int32_t v = asr(p, s) + (asr(p, s - 1) & 1) + z;
    v = v > 127 ? 127 : (v < -128 ? -128 : v);
    return (int8_t)v;
}
"""
    + PLAIN,
    "saturates before the zero point": START
    + TABLES
    + ASR
    + """
static int8_t finish(int32_t acc, int32_t m, int s, int32_t z)
{
    int32_t v = asr(acc * m + ((int32_t)1 << (s - 1)), s);
    const int32_t low = -128 - z, high = 127 - z;
    if (v < low || v > high) v = v < low ? low : high;
    return (int8_t)(v + z);
}
"""
    + PLAIN,
    "calls within the arguments of calls": START
    + TABLES
    + """
static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t asr(int32_t x, int s) { return x < 0 ? ~(~x >> s) : x >> s; }
static int8_t finish(int32_t acc, int32_t m, int s, int32_t z)
{
    const int32_t v = asr(asr(acc * m, s - 1) + 1, 1) + z;
    return (int8_t)smaller(larger(smaller(v, 127), -128), larger(v, -128));
}
"""
    + PLAIN,
    "a shift through unsigned": START
    + TABLES
    + """
static int32_t asr(int32_t x, int s)
{
    if (x >= 0) return (int32_t)((uint32_t)x >> s);
    return -(int32_t)(((uint32_t)-x + ((uint32_t)1 << s) - 1) >> s);
}
"""
    + FINISH
    + PLAIN,
    "inputs outside, outputs inside": START
    + TABLES
    + ASR
    + FINISH
    + """
void run(const int8_t x[6], int8_t y[3])
{
    int32_t acc[5];
    int32_t out[3];
    int8_t h[5];
    int i = 0;
    for (int o = 0; o < 5; o++) acc[o] = b0[o];
    while (i < 6) {
        const int32_t v = (int32_t)x[i] - 3;
        for (int o = 4; o >= 0; o--) acc[o] += v * w0[o][i];
        i++;
    }
    for (int o = 0; o < 5; o++) h[o] = finish(acc[o], 901, 17, -128);
    for (int o = 0; o < 3; o++) out[o] = b1[o];
    for (i = 0; i < 5; i++) {
        for (int o = 0; o < 3; o++) out[o] += (int32_t)(h[i] + 128) * w1[o][i];
    }
    for (int o = 0; o < 3; o++) y[o] = finish(out[o], 90, 15, 5);
}
""",
    "pointers": START
    + TABLES
    + ASR
    + FINISH
    + """
static int32_t dot(const int8_t *w, const int8_t *x, int n, int32_t zero, int32_t acc)
{
    const int8_t *const end = w + n;
    do {
        acc += (int32_t)*w++ * (*x++ - zero);
    } while (w != end);
    return acc;
}
static void layer(const int8_t *x, int n, int32_t zero, const int8_t *w, const int32_t *b, int8_t *y, int outputs,
                  int32_t m, int s, int32_t z)
{
    while (outputs-- > 0) {
        *y++ = finish(dot(w, x, n, zero, *b++), m, s, z);
    }
}
void run(const int8_t *x, int8_t *y)
{
    int8_t h[5];
    for (int o = 0; o < 5; o++) layer(x, 6, 3, w0[o], b0 + o, h + o, 1, 901, 17, -128);
    for (int o = 0; o < 3; o++) layer(h, 5, -128, w1[o], &b1[o], &y[o], 1, 90, 15, 5);
}
""",
    "the first layer unrolled": START
    + TABLES
    + ASR
    + FINISH
    + "void run(const int8_t *x, int8_t *y)\n{\n    int8_t h[5];\n"
    + _UNROLLED
    + """
    for (int o = 0; o < 3; o++) {
        int32_t acc = b1[o];
        for (int i = 0; i < 5; i++) acc += (int32_t)w1[o][i] * (h[i] + 128);
        y[o] = finish(acc, 90, 15, 5);
    }
}
""",
    "zero points in the biases, halves rounded there": START
    + TABLES
    + ASR
    + table("c0", 901 * (_B0 - 3 * _W0.sum(1)) + (1 << 16), "int32_t")
    + table("v0", 901 * _W0, "int32_t")
    + """
static int8_t clamp(int32_t v) { return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v); }
void run(const int8_t *x, int8_t *y)
{
    int8_t h[5];
    for (int o = 0; o < 5; o++) {
        int32_t acc = c0[o];
        for (int i = 0; i < 6; i++) acc += v0[o][i] * x[i];
        h[o] = clamp(asr(acc, 17) - 128);
    }
    for (int o = 0; o < 3; o++) {
        int32_t acc = b1[o];
        for (int i = 0; i < 5; i++) acc += (int32_t)w1[o][i] * h[i];
        for (int i = 0; i < 5; i++) acc += (int32_t)w1[o][i] * 128;
        acc = acc * 90 + 16384;
        y[o] = clamp(asr(acc, 15) + 5);
    }
}
""",
    "activations kept unsigned, in a static buffer": START
    + TABLES
    + ASR
    + FINISH
    + """
#define HIDDEN 5
enum { INPUTS = 6, OUTPUTS = 3 };
static uint8_t h[HIDDEN];
static void first(const int8_t *x)
{
    int o;
    for (o = 0; o < HIDDEN; o += 1) {
        int32_t acc = b0[o];
        int i;
        for (i = 0; i < INPUTS; ++i) acc = acc + (int32_t)w0[o][i] * x[i] - (int32_t)3 * w0[o][i];
        h[o] = (uint8_t)(finish(acc, 901, 17, -128) + 128);
    }
}
void run(const int8_t *x, int8_t *y)
{
    int o;
    first(x);
    for (o = 0; o < OUTPUTS; o++) {
        int32_t acc = 0;
        int i;
        for (i = 0; i < HIDDEN; i++) acc += (int32_t)w1[o][i] * (int32_t)h[i];
        y[o] = finish(acc + b1[o], 90, 15, 5);
    }
}
""",
}

_FINISHED = "h[o] = finish(acc, 901, 17, -128);"
_ROUNDED = "asr(acc * 901 + 65536, 17) - 128"
_SECOND_SUM = "for (i = 0; i < 5; i++) acc += (int32_t)w1[o][i] * (h[i] + 128);"


def varied(*changes: tuple[str, str]) -> str:
    """The plain loops with each text replaced by the other."""
    text = SOURCES["plain loops"]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


SOURCES |= {
    "stores in branches": varied(
        (
            _FINISHED,
            f"{{ int32_t v = {_ROUNDED}; "
            "if (v < -128) h[o] = -128; else if (v > 127) h[o] = 127; else h[o] = (int8_t)v; }",
        )
    ),
    "stores through a pointer, and returns": varied(
        (
            "void run",
            f"static void put(int32_t acc, int8_t *t) {{ int32_t v = {_ROUNDED}; "
            "if (v < -128) { *t = -128; return; } "
            "if (v > 127) { *t = 127; return; } *t = (int8_t)v; }\nvoid run",
        ),
        (_FINISHED, "put(acc, &h[o]);"),
    ),
    "saturation in a loop of its own": varied(
        ("int8_t h[5];", "int32_t h[5];"),
        (
            _FINISHED + "\n    }",
            f"h[o] = {_ROUNDED};\n    }}\n"
            "    for (o = 0; o < 5; o++) { if (h[o] < -128) h[o] = -128; if (h[o] > 127) h[o] = 127; }",
        ),
    ),
    "tables that are not static": varied(("static const", "const")),
    "a static buffer in the function": varied(("    int8_t h[5];", "    static int8_t h[5];")),
    "inputs of zero left out": varied(
        (_SECOND_SUM, "for (i = 0; i < 5; i++) if (h[i] != -128) acc += (int32_t)w1[o][i] * (h[i] + 128);")
    ),
    "activations in variables": varied(
        ("    int8_t h[5];", "    int32_t h0, h1, h2, h3, h4;\n    int32_t a;"),
        (
            PLAIN[PLAIN.index("    for (o = 0; o < 5") : PLAIN.index("    for (o = 0; o < 3")],
            "".join(
                f"    a = b0[{o}];\n    for (i = 0; i < 6; i++) a += (int32_t)w0[{o}][i] * (x[i] - 3);\n"
                f"    h{o} = finish(a, 901, 17, -128) + 128;\n"
                for o in range(5)
            ),
        ),
        (_SECOND_SUM, "acc += w1[o][0] * h0 + w1[o][1] * h1 + w1[o][2] * h2 + w1[o][3] * h3 + w1[o][4] * h4;"),
    ),
}
