"""What C means to the verifier: its three ways to evaluate a function agree, and known traps of the language are met.

A function of random C is run on constants that are written into the source (Python's integers), on arguments in lanes,
and on symbolic arguments in the proof domain. The three share the front end; compilers judge that one
(test_ccheck_compilers.py).
"""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import pytest
from c_expressions import RANGES
from c_functions import c_function, with_calls

from intnn import Activation, Dense, Fixed, Network
from intnn.ccheck.batch import call
from intnn.ccheck.cmodel import MODELS, DataModel
from intnn.ccheck.compiler import Program
from intnn.ccheck.source import NotInSubset, deep, read
from intnn.ccheck.symbols import Bent, Doubt, Sum, Symbols
from intnn.ccheck.values import Trap, Value
from intnn.ccheck.verify import PROVED, UNPROVED, WRONG, verify_c

IDENTITY = Network(
    Activation("int16"), (Dense(np.array([[1]]), np.array([0]), Fixed(0, 0), Activation("int16")),), "y = x"
)


def place(trap: Trap) -> tuple[str, str]:
    """Where a trap is and of what kind, without the values that only constants let it name."""
    kinds = ("conversion", "overflow", "read", "access", "a pointer", "shifted by", "shifted left", "shifted right")
    return trap.where, next(kind for kind in kinds if kind in trap.kind)


@pytest.mark.parametrize("model", [MODELS["int16"], MODELS["int32"]], ids=lambda model: model.name)
def test_constants_and_lanes_agree(model: DataModel) -> None:
    values, traps = 0, 0
    for seed in range(60):
        function = c_function(seed)
        rows = function.rows(5, 1)
        source = read(with_calls(function, rows).text)
        lanes, trapped = call(source, model, function.name, rows)
        for k in range(len(rows)):
            alone, stopped = call(source, model, f"{function.name}_call{k}", np.zeros((1, 0), np.int64))
            assert (k in trapped) == (0 in stopped), function.text
            if stopped:
                if trapped[k].where:  # not an argument that the parameter's type does not hold
                    assert place(trapped[k]) == place(stopped[0]), function.text
                traps += 1
            else:
                assert lanes[k] == alone[0], f"{rows[k]} {function.text}"
                values += 1
    assert values > 60
    assert traps > 60


def evaluated(symbols: Symbols, value: Value, arguments: dict[str, int]) -> int | None:
    """A value of the proof domain for given arguments."""
    if isinstance(value, Sum):
        return value.const + sum(c * arguments[v.name] for v, c in value.collected().items())
    if isinstance(value, Bent):
        return symbols.curves.value(value.curve, sum(c * arguments[v.name] for v, c in value.root.terms))
    return int(value)


def no_activation(value: Bent) -> Sum:
    raise Doubt("not a sum")


def agrees(seed: int) -> bool:
    """Whether random function ``seed`` has a value in the proof domain; asserts that it is that of the lanes."""
    rng, function = random.Random(seed), c_function(seed)
    ranges: list[tuple[int, int]] = []
    for t in function.params:
        low, high = RANGES[t]
        if rng.random() < 0.6:
            low, high = max(low, -rng.choice((0, 1, 9, 100, 30000))), min(high, rng.choice((1, 5, 127, 4000)))
        if ranges and rng.random() < 0.8:  # most often only the first argument varies: two seldom go together
            low = high = rng.randint(max(low, -20), min(high, 20))
        ranges.append((low, high))
    source, symbols = read(function.text), Symbols()
    symbols.cut = no_activation
    program = Program(source, MODELS["int32"], symbols)
    names = [f"x{k}" for k in range(len(ranges))]
    try:
        with deep(""):
            arguments = [symbols.variable(x, low, high) for x, (low, high) in zip(names, ranges, strict=True)]
            proved = program.call(function.name, arguments)
    except (Doubt, Trap):
        return False
    if not isinstance(proved, int | Sum | Bent):  # a condition that is no number there
        return False
    rows: npt.NDArray[np.int64] = np.array(
        [[rng.choice((low, high, rng.randint(low, high))) for low, high in ranges] for _ in range(100)], np.int64
    )
    values, traps = call(source, MODELS["int32"], function.name, rows)
    assert not traps, (ranges, traps, function.text)
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        assert evaluated(symbols, proved, dict(zip(names, row, strict=True))) == value, (ranges, row, function.text)
    return True


def test_the_proof_and_the_lanes_agree() -> None:
    """Where the proof domain has no doubt no lane traps, and the value it found is each lane's."""
    assert sum(agrees(seed) for seed in range(1000, 1150)) > 40


@pytest.mark.slow
def test_the_proof_and_the_lanes_agree_on_many() -> None:
    assert sum(agrees(seed) for seed in range(3000)) > 1000


VALUES = [  # a function of int32_t x (or its parameter list and body), and what it returns for x = 1, -5, 7
    ("(uint8_t x) { return x == 300; }", [0, None, 0]),
    ("(uint8_t x) { return x >= 0; }", [1, None, 1]),
    ("{ return !(x + 9); }", [0, 0, 0]),
    ("{ return x > 0 ? x : 2147483647 + 1; }", [1, None, 7]),
    ("{ int32_t a[2] = {3, 4}; return x > 0 ? x : a[2]; }", [1, None, 7]),
    ("{ int32_t a[2] = {3, 4}; return x > 0 || a[2]; }", [1, None, 1]),
    ("{ int32_t a[2] = {3, 4}; if (x > 0) { return x; } return a[-1]; }", [1, None, 7]),
    ("{ int32_t v; if (x > 0) v = x; return v; }", [1, None, 7]),
    ("{ int32_t v[2]; if (x > 0) v[1] = x; return v[1]; }", [1, None, 7]),
    ("{ if (x > 0) return x; }", [1, None, 7]),
    ("{ int32_t v; if (x > 0) { v = x; x = v + 1; } return x; }", [2, -5, 8]),
    ("{ int32_t v; if (x > 0) v = x; if (x > 5) v = 3; return v; }", [1, None, 3]),
    ("{ { int32_t x = x; return x; } }", [None, None, None]),
    ("{ if (x > 0) { if (x > 5) return 9; x = 3; } else { if (x > -3) return 8; x = 4; } x++; return x; }", [4, 5, 9]),
    ("{ return (x > 0 && x < 5) * 10 + (x > 0 || x < -9); }", [11, 0, 1]),
    ("{ for (int i = 0; i < 4; i++) { if (i == 1) continue; if (i == 3) break; x += i; } return x; }", [3, -3, 9]),
    (
        "{ int32_t a[2] = {3, 4}, s = 0; const int32_t *e = &a[2];"
        " for (int32_t *p = a; p != e; p++) s += *p; return s; }",
        [7, 7, 7],
    ),
    (
        "{ static const int32_t a[2][2] = {{1, 2}, {3, 4}}; const int32_t *p = a[0], *e = a[1]; int32_t s = 0;"
        " while (p != e) { s += *p; p++; } return s; }",
        [3, 3, 3],
    ),
    ("{ static const int32_t a[2][2] = {{1, 2}, {3, 4}}; return a[0][2]; }", [None, None, None]),
    ("{ int32_t a[2] = {3, 4}; const int32_t *p = a + 3; return x; }", [None, None, None]),
    ("{ int32_t a[2] = {3, 4}; const int32_t *p = a + 2; return p[-1]; }", [4, 4, 4]),
    ("{ uint16_t a = 65535; return a * a > 0; }", [None, None, None]),
    ("{ uint16_t a = 65535; return (uint32_t)a * a > 0; }", [1, 1, 1]),
    ("{ return (x > 0 ? -1 : 1u) > 0; }", [1, 1, 1]),
    ("{ return x < 1u; }", [0, 0, 0]),
    ("{ return (0xFFFFFFFF > 0) + (-1 < 0xFFFF) * 2; }", [3, 3, 3]),
    ("{ signed char c = -1; unsigned char d = (unsigned char)c; return d; }", [255, 255, 255]),
    ("{ int i = 7; for (int i = 0; i < 3; i++) { x += i; int i = 100; x += i; } return x + i; }", [311, 305, 317]),
    ("{ do { x += 1; if (x == 5) continue; if (x > 6) return 0; } while (0); return x; }", [2, -4, 0]),
    ("{ x = (x < 0 ? ~(~x >> 1) : x >> 1); return x; }", [0, -3, 3]),
    ("{ return x >> 1; }", [0, None, 3]),
    ("{ return (uint32_t)x >> 31; }", [0, 1, 0]),
    ("{ return (uint32_t)x >> 32; }", [None, None, None]),
    ("{ return x << 30; }", [1 << 30, None, None]),
    ("{ return (int8_t)(x * 100); }", [100, None, None]),
    ("{ uint8_t b = 255; b++; return b; }", [0, 0, 0]),
    ("{ int8_t b = 127; b += (int8_t)(x > 0); return b; }", [None, 127, None]),
    ("{ return " + " + ".join(["x"] * 1000) + "; }", [1000, -5000, 7000]),
]


@pytest.mark.parametrize(("body", "expected"), VALUES)
def test_values_and_traps(body: str, expected: list[int | None]) -> None:
    """Each judged by the C standard; ``None`` is a trap."""
    text = f"#include <stdint.h>\nint32_t f{'' if body.startswith('(') else '(int32_t x) '}{body}\n"
    values, traps = call(read(text), MODELS["int32"], "f", np.array([[1], [-5], [7]], np.int64))
    assert [None if k in traps else int(values[k]) for k in range(3)] == expected


def test_a_function_of_a_function() -> None:
    text = "static int g(int x) { return x + 1; } int f(int x) { return g(g(x)) + g(g(g(x))); }"
    assert call(read(text), MODELS["int32"], "f", np.array([[1]], np.int64))[0] == [7]


UNORDERED = [  # what C leaves unordered or undefined without a value going wrong: refused
    "int32_t f(int32_t x) { int32_t i = 0; if (i++ < i) return 1; return 2; }",
    "int32_t f(int32_t x) { int32_t i = 3; while (i-- > i - 1) x = 0; return x; }",
    "int32_t f(int32_t x) { int32_t i = 3; i = i++; return i; }",
    "static int32_t h(int32_t *t) { t[0] = 1; return 7; }"
    " int32_t f(int32_t x) { int32_t t[1] = {0}, a[2] = {0}; a[t[0]] = h(t); return a[0]; }",
    "static int32_t s[1]; static int32_t g(void); int32_t f(int32_t x) { s[0] = 1; return s[0] + g(); }"
    " static int32_t g(void) { s[0] = 5; return 1; }",
    "static int32_t g(int32_t *restrict p, int32_t *restrict q) { *p = 1; *q = 2; return *p; }"
    " int32_t f(int32_t x) { int32_t a[1]; int32_t r = g(a, a); return r; }",
    "static int32_t g(const int32_t p[static 8]) { return p[0]; }"
    " int32_t f(int32_t x) { int32_t a[1] = {4}; return g(a); }",
    "int32_t f(int32_t x) { int32_t a[1] = {1}, b[1] = {2}; int32_t *p = a; if (x > 0) p = b; return *p; }",
    "int32_t f(int32_t x) { const int32_t *p; { int32_t a[1] = {5}; p = a; } return *p; }",
    "int32_t f(int32_t x) { const int32_t *p; { int32_t a[1] = {5}; int32_t *q = a; q++; p = q - 1; } return *p; }",
    "static int32_t g(const int32_t *p) { { int32_t a[1] = {5}; p = &a[0]; } return *p; }"
    " int32_t f(int32_t x) { int32_t a[1] = {4}; return g(a); }",
    "int32_t f(int32_t x) { int32_t z[1] = {0}, r = 0; const int32_t *p = z;"
    " for (int i = 0; i < 3; i++) { int32_t a[1] = {0}; if (i == 0) { a[0] = x; p = a; } r = *p; } return r; }",
    "int abs(int x) { return 5; } int32_t f(int32_t x) { return abs(x); }",
    "int32_t g(int32_t x) { return x > 0 ? f(x) : 0; } int32_t f(int32_t x) { return g(x); }",
    "int32_t f(int32_t x) { return x > 0 ? f(x - 1) : 0; }",
    "int32_t f(int32_t x) { while (x > 0) x -= 1; return x; }",
]


@pytest.mark.parametrize("text", UNORDERED)
def test_refused(text: str) -> None:
    with pytest.raises(NotInSubset) as refusal:
        call(read("#include <stdint.h>\n" + text), MODELS["int32"], "f", np.array([[1], [-5]], np.int64))
    assert refusal.value.where == "source.c:2"


SAWTEETH = [  # for some int16 x[0] not x[0]; each was once taken for it
    "y[0] = (int16_t)(u + ((u & 3) > 0) * 5 - 5 * (u & 3));",
    "y[0] = (int16_t)(u - (-((u & 3) > 0)) - (u & 3));",
    "y[0] = (int16_t)(u + (uint8_t)((u & 3) > 0) - (u & 3));",
    "y[0] = (int16_t)(u + (((u & 3) > 0) << 1) - 2 * (u & 3));",
    "y[0] = (u & 3) > 0;",
    "int32_t v = 3; if (u > 0) { v = 5; if ((u & 1) > 0) { v = 5; } } y[0] = (int16_t)(u > -9 ? u + v - 5 : u);",
    "y[0] = 0; if ((u & 1) > 0) { if (u > 100) return; } y[0] = x[0];",
]


@pytest.mark.parametrize("body", SAWTEETH)
def test_conditions_that_change_often(body: str) -> None:
    """Wrong, with an input that shows it: the values are those of the C and of the network at that input."""
    verdict = verify_c(_entry(body), IDENTITY)
    assert verdict.status == WRONG
    assert verdict.counterexample is not None
    assert verdict.counterexample.got not in (None, verdict.counterexample.expected)
    assert verdict.counterexample.expected == verdict.counterexample.x


@pytest.mark.parametrize(
    "branch", ["int32_t v; if ((u & 1) > 0) { v = 5; } else { v = 5; } y[0] = (int16_t)(u + v - 5);"]
)
def test_right_but_not_proved(branch: str) -> None:
    assert verify_c(_entry(branch), IDENTITY).status in (PROVED, UNPROVED)


@pytest.mark.parametrize(
    "body",
    [
        "y[0] = x[0];",
        "y[0] = (int16_t)((u - u + 3) * (u - u) + u);",
        "y[0] = (int16_t)(u > 5 ? u : u < -5 ? u : u);",
        "if (u == 300) { y[0] = 300; } else { y[0] = x[0]; }",
    ],
)
def test_proved(body: str) -> None:
    assert verify_c(_entry(body), IDENTITY).proved


@pytest.mark.parametrize("use", ["u + v * 0", "u + (v & 0)", "u + (v - v)", "u > 0 ? u + 0 * v : u"])
def test_uninitialised(use: str) -> None:
    """Read on some path, an uninitialised value is a fault even where nothing comes of it; not read, it is none."""
    verdict = verify_c(_entry(f"int32_t v; if (u > 0) v = 5; y[0] = (int16_t)({use});"), IDENTITY)
    assert verdict.proved == ("?" in use)
    assert verdict.proved or (verdict.counterexample is not None and "uninitialised" in verdict.counterexample.trap)


def test_sums_that_start_alike() -> None:
    net = Network(
        Activation("int8"), (Dense(np.array([[2, 1]]), np.array([0]), Fixed(0, 0), Activation("int16")),), "y = 2 a + b"
    )
    text = "void f(const signed char x[], short y[]) {{ int s = x[0]; int t = s + x[1]; int r = s + x[0]; y[0] = {}; }}"
    assert verify_c(text.format("(short)(r + x[1])"), net).proved
    assert verify_c(text.format("(short)(t + x[0])"), net).proved
    assert verify_c(text.format("(short)(t + x[1])"), net).status == WRONG


def _entry(body: str) -> str:
    return f"#include <stdint.h>\nvoid f(const int16_t x[], int16_t y[]) {{\nint32_t u = x[0];\n{body}\n}}\n"


@pytest.mark.parametrize("loop", ["for (;;) {}", "do { x = 1; } while (1);", "int32_t i; for (i = 0; i < 3; x++) {}"])
def test_loops_without_end(loop: str) -> None:
    """They end here at once, as a fault of the program."""
    source = read(f"#include <stdint.h>\nint32_t f(int32_t x) {{ {loop} return x; }}")
    _, traps = call(source, MODELS["int32"], "f", np.array([[1], [2]]))
    assert [trap.kind.split(":")[0] for trap in traps.values()] == ["a loop without end"] * 2


def test_what_c_leaves_to_the_implementation_as_compilers_have_it() -> None:
    text = "#include <stdint.h>\nint8_t f(int32_t a);\nint8_t f(int32_t a) { return (int8_t)(a >> 3); }"
    x = np.array([[v] for v in (-2147483648, -1025, -1024, -9, -8, -1, 0, 7, 8, 1023, 1024, 2047, 2147483647)])
    got, traps = call(read(text, "t.c", {}), MODELS["int32"]._replace(usual=True), "f", x)
    assert not traps
    assert got.tolist() == [((v // 8) + 128) % 256 - 128 for v in x[:, 0].tolist()]
    _, traps = call(read(text, "t.c", {}), MODELS["int32"], "f", x)
    assert sorted(traps) == [i for i, v in enumerate(x[:, 0].tolist()) if v < 0 or v // 8 > 127]
