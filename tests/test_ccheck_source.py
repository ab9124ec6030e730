"""The gate: what the verifier reads, what it refuses and where, and that no text makes it fail in another way.

No preprocessor runs, so that whatever could make a compiler see other text than the verifier has to be refused. Each
of HIDING was found by giving it to gcc and clang: they compile other code than the lines seem to say.
"""

from __future__ import annotations

import numpy as np
import pytest

from intnn.ccheck.batch import call
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import NotInSubset, read

HEAD = "#include <stdint.h>\n"
END = "\nint32_t f(int32_t x) { return x; }"


def value(text: str, headers: dict[str, str] | None = None) -> int:
    """f(3); that of other arguments is computed, too."""
    values, _ = call(read(text, headers=headers), MODELS["int32"], "f", np.array([[3], [-5], [100]], np.int64))
    return int(values[0])


READ = [  # texts and f(3)
    (HEAD + "int32_t f(int32_t x) { return x; }", 3),
    ("/* a\n b */ #include <stdint.h> // c\n" + END, 3),
    ("\n  #  include <stdint.h>\r\n" + END, 3),
    (HEAD + "int32_t f(int32_t x) { return x /* - 1 */ + 1; } // * 2", 4),
    (HEAD + "int32_t f(int32_t x) { return x //*\n + 1; /* */ }", 4),
    (HEAD + "int32_t f(int32_t x) { return x /**/+/*/ + 9 /*/ 1; }", 4),
    (HEAD + "/* 'quoted' \"text\" here, \\ and ??/ too */" + END, 3),
    (HEAD + "#define N 5\n#define TWICE_N (2 * N)\nint32_t f(int32_t x) { return x + TWICE_N; }", 13),
    (HEAD + "#define N 5 /* five */\n#define N 5\n#define EMPTY\nint32_t f(int32_t x) { return EMPTY x + N; }", 8),
    (HEAD + "#define N -\nint32_t f(int32_t x) { int32_t y = x -N -x; return y + x; }", 3),
    (HEAD + "#define A\n#ifdef A\n#define N 1\n#else\n#define N 2\n#endif\nint32_t f(int32_t x) { return N; }", 1),
    (HEAD + "#define A\n#ifndef A\nnonsense {\n#ifdef A\nmore\n#endif\n#endif" + END, 3),
    ("#ifndef F_H\n#define F_H\n" + HEAD + END + "\n#endif\n", 3),
    (HEAD + '#ifdef __cplusplus\nextern "C" {\n#endif' + END + "\n#ifdef __cplusplus\n}\n#endif", 3),
    ("#pragma once\n" + HEAD + END, 3),
    (HEAD + "#\n" + END, 3),
    (HEAD + "static const int8_t t[3] = {1, -2, 3,};\nint32_t f(int32_t x) { return t[0] + t[1] + t[2]; }", 2),
    (HEAD + "static const int8_t t[] = {010, 0x10,\n -1};\nint32_t f(int32_t x) { return t[0] + t[1] + t[2]; }", 23),
    (HEAD + "static const int8_t t[2][2] = {{1, 2}, {3}};\nint32_t f(int32_t x) { return t[1][0] * 9 + t[1][1]; }", 27),
    (HEAD + "static const int8_t t[2][2] = {1, 2, 3};\nint32_t f(int32_t x) { return t[1][0] * 9 + t[1][1]; }", 27),
    (HEAD + "static const int8_t t[][2] = {{1, 2}, {3, 4},};\nint32_t f(int32_t x) { return t[1][1]; }", 4),
    (HEAD + "static const int32_t t[2] = {-2147483648, 2147483647};\nint32_t f(int32_t x) { return t[0] + t[1]; }", -1),
    (HEAD + "static const int32_t t[1] = {(1 + 2) * 3};\nint32_t f(int32_t x) { return t[0]; }", 9),
    (
        HEAD + "static int g(int (*p)[2]) { return p[1][0]; }\nint f(int x) { int a[2][2] = {1, 0, 2}; return g(a); }",
        2,
    ),
    (HEAD + "const int32_t v = 9;\nint32_t f(int32_t x) { static int w[1]; w[0] = v; return w[0]; }", 9),
    (HEAD + "enum { A, B = 5, C };\ntypedef int8_t check[B - 4];\nint32_t f(int32_t x) { return A + C; }", 6),
    (HEAD + "typedef int16_t s;\nstatic int32_t g(s a[], int n);\nint32_t f(int32_t x) { s v = 7; return v; }", 7),
    (HEAD + "static inline int32_t g(void) { return INT8_MIN; }\nint32_t f(int32_t x) { return g(); }", -128),
    ("int f(int x) { long l = 2L; short s = 1; unsigned u = 7u; return (int)(u & 3) + (int)l + s; }", 6),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_read(text: str, expected: int) -> None:
    assert value(text) == expected


def test_headers() -> None:
    headers = {
        "net.h": "#ifndef NET_H\n#define NET_H\n#include <stdint.h>\n#define N 4\n#endif\n",
        "two.h": '#include "net.h"',
    }
    text = '#include "net.h"\n#include "two.h"\nint32_t f(int32_t x) { return x + N; }'
    assert value(text, headers=headers) == 7
    with pytest.raises(NotInSubset) as refusal:
        read('#include "bad.h"', headers={"bad.h": "\nint f(float x);"})
    assert refusal.value.where == "bad.h:2"
    with pytest.raises(NotInSubset) as refusal:
        read('#include "net.h"\n\nfloat y;', headers=headers)
    assert refusal.value.where == "source.c:3"
    with pytest.raises(NotInSubset):
        read('#include "own.h"', headers={"own.h": '#include "own.h"'})


DECLARATIONS = """\
float v;
double v;
int64_t v;
uint64_t v;
volatile int v;
struct s { int a; };
union u { int a; };
extern int v;
static _Bool v;
_Static_assert(1, 2);
typedef char t;
typedef long long t;
char v;
int32_t v;
extern const int32_t v = 1;
static int32_t v;
static int32_t v[1] = {1};
static const int32_t v;
static const int32_t *v;
static const int8_t v = 128;
static const int8_t v[1] = {128};
typedef int8_t t[-1];
static const int8_t v[1] = {1, 2};
static const int8_t v[2][2] = {{1, 2}, {3, 4}, {5}};
static const int8_t v[1];
static const int8_t v[2][2] = {{1}, 2};
static const int8_t v[2] = {{1}, {2}};
static const int8_t v[1] = {[0] = 1};
static const int8_t v[1] = {1,, 2};
static const int8_t v[2] = {1 2};
static const int8_t v[0] = {1};
static const int8_t v[1] = {,};
static const int8_t v[1] = {};
static const int8_t v[] = {08};
static const int8_t v[1] = {x};
int32_t g(int32_t x, ...);
int32_t *g(void);
int32_t g(a) int32_t a; { return a; }
inline int g(void) { return 1; }
int32_t g(int32_t **p);
int32_t g(int32_t (*p)(void));
int32_t g(restrict int *p);
_Noreturn void g(void) {}
int32_t g(int32_t) { return 1; }
int32_t g(int32_t x) { return x; } int32_t g(int32_t x) { return x; }
int32_t g(void); int16_t g(void);
int32_t g(int32_t x) { int32_t x = 1; return x; }
typedef int8_t int16_t;
""".splitlines()
"""Refused; so is each of the statements below."""


@pytest.mark.parametrize("line", [*DECLARATIONS, f"static const int8_t v[1] = {'{' * 3000}1{'}' * 3000};"])
def test_refused_declarations(line: str) -> None:
    with pytest.raises(NotInSubset) as refusal:
        value(HEAD + line + END)
    assert refusal.value.where == "source.c:2"
    assert len(refusal.value.message) < 200


STATEMENTS = """\
goto a;
a: x = 1;
switch (x) {}
case 1: x = 1;
asm(1);
register int v = 1;
static int v[1] = {1};
x;
x = x / 2;
x = x % 2;
x /= 2;
x = x | 1;
x = x ^ x;
x = x & -2;
x = x & 5;
x = 1 << x;
x = (x, 1);
x = sizeof x;
x = x = 1;
if (x = 1) {}
x = x++;
x = x++ + x;
x = 1.0;
x = 1e3;
x = 'a';
x = "a";
x = 1LL;
x = 2147483648;
x = 08;
x = 0b1;
x = y;
x = g(x);
x = f;
f = 1;
&x;
int *p = &x;
x = *x;
x = x[0];
x(1);
int v = {1};
int v[x];
int v[2]; v = 0;
int v[2]; x = v;
int v[2]; x = v[x];
int v[2]; x = v & 1;
int v[2] = {x, 1};
int v[2]; x = v - v;
int v[2]; x = v * 2;
int v[2]; int16_t *p = v;
int v[2]; int *p = v + x;
const int v[1] = {1}; int *p = v;
const int v[1] = {1}; v[0] = 2;
const int v = 1; v = 2;
int v[2]; v[0]++;
x = !v;
while (x) {}
while (x > 0) x--;
for (int i = 0; i < x; i++) {}
return;
else {}
for (int i = 0; i < 3; i++) { if (x > 0) break; }
for (int i = 0; i < 3; i++) { if (x > 0) { continue; } }
struct s v;
void v;
int32_t g(void);
typedef int t;
enum { A };
x = ({ 1; });
x = x ?: 1;
x = (int[]){1}[0];
int x = 1;
x = (int32_t *)x;
x = intnn__table_0;
x = x @ 1;
x = x $ 1;
x = x
x = f(1, 2);
x = __builtin_abs(x);
x = INT64_MAX;
x = INT8_C(1);
float v = 1;
x = (float)x;
x = (x;
}
""".splitlines()

DEEP = [
    "x = " + "-" * 30000 + "x;",
    "x = " + "(" * 9000 + "x" + ")" * 9000 + ";",
    "x = " + "x + " * 30000 + "x;",
    "x = " + "x ? 1 : " * 9000 + "x;",
    "{" * 9000 + "}" * 9000,
]


def refusal_of(statement: str) -> NotInSubset:
    text = HEAD + "int32_t f(int32_t x) {\n" + statement + "\nreturn x; }\nint32_t last(void) { return 1; }"
    with pytest.raises(NotInSubset) as refusal:
        value(text)
    assert len(refusal.value.message) < 200
    return refusal.value


@pytest.mark.parametrize("statement", STATEMENTS)
def test_refused_statements(statement: str) -> None:
    late = statement in ("x = x", "}")  # the parser sees what is missing a line further down
    assert refusal_of(statement).where == ("source.c:4" if late else "source.c:3")


@pytest.mark.parametrize("statement", DEEP, ids=lambda statement: statement[:9])
def test_too_deep(statement: str) -> None:
    refusal_of(statement)


HIDING = [  # and the line of the refusal
    ('#define S "/*"\n#define B 7\n/* "*/' + END, 1),
    ('#define A\n#ifndef A\n"/*"\n#endif\n#define B 7\n#ifndef A\n/* "*/\n#endif' + END, 3),
    ("#define A\n#ifndef A\n'/*'\n#endif\n" + END, 3),
    ("#define A\n#ifndef A\n#elif 1\n#define B 7\n#endif" + END, 3),
    ("#define A\n#ifndef A\n#if 0\n#endif\n#define B 7\n#endif" + END, 3),
    ("#define A\n#ifndef A\n%:endif\n#define B 7\n%:ifndef A\n#endif" + END, 3),
    ("#define A\n#ifdef A junk\n#define B 7\n#endif" + END, 2),
    ("#define A\n#ifdef A\n#else junk\n#endif" + END, 3),
    ("#ifdef __GNUC__\n#define B 7\n#endif" + END, 1),
    (HEAD + "#ifdef INT32_MAX\n#define B 7\n#endif" + END, 2),
    ("#ifdef linux\n#define B 7\n#endif" + END, 1),
    ("#ifdef NDEBUG\n#define B 7\n#endif" + END, 1),
    ("#ifndef AVR\n#define AVR\n#define B 6\n#else\n#define B 7\n#endif" + END, 1),
    ("#ifndef AVR\n#define AVR\n#define B 6\n#endif\n#ifndef B\n#define B 7\n#endif" + END, 1),
    ("int32_t f(int32_t x) { int32_t a = 1; // c\r a = 2;\n return a; }", 1),
    ("int32_t f(int32_t x) { int32_t a = 1; // c\\\n a = 2;\n return a; }", 1),
    ("int32_t f(int32_t x) { int32_t a = 1; // c\\ \t\f\v\n a = 2;\n return a; }", 1),
    ("int32_t f(int32_t x) { int32_t a = 1; // c??/\n a = 2;\n return a; }", 1),
    ("??=define B 7" + END, 1),
    ("%:define B 7" + END, 1),
    ("int32_t f(int32_t x) <% return x; %>", 1),
    ("#define a b\n#define b c\n#define c a\nint32_t f(int32_t x) { int32_t a = 1; return a; }", 4),
    ("".join(f"#define m{i} m{i + 1}\n" for i in range(9)) + "int32_t f(int32_t m9) { return m0; }", 10),
    ("#define signed unsigned\n" + HEAD + END, 1),
    ("#define int short\n" + HEAD + END, 1),
    ("#define int32_t int16_t\n" + HEAD + END, 1),
    ("#define INT64_MAX 3\n" + HEAD + END, 1),
    ("#define __INT8_TYPE__ unsigned char\n" + HEAD + END, 1),
    ("#define __int8_t_defined\n" + HEAD + END, 1),
    ("#define N 3\n" + HEAD + END, 2),
    ("int g(void);\n" + HEAD + END, 2),
    ("static int INT16_C(int v) { return v + 1; }\n" + HEAD + END, 1),
    ("#define N 3\n#define N 4" + END, 2),
    ("#define N(x) x" + END, 1),
    ("#undef N" + END, 1),
    ("#error no" + END, 1),
    ("#line 7" + END, 1),
    ("#pragma pack(1)" + END, 1),
    ("#include <stdlib.h>" + END, 1),
    ('#include "other.h"' + END, 1),
    ("#include MACRO" + END, 1),
    ("#if 1\n#endif" + END, 1),
    ("\n#else" + END, 2),
    ("\n#endif" + END, 2),
    ("#define A\n#ifdef A" + END, 3),
    ("\n/* does not end" + END, 2),
    ("int32_t f(int32_t \u0445) { return 1; }", 1),
    ("int32_t f(int32_t x) { return x; }\n\0", 2),
    ("int32_t f(int32_t x) { return x \\ ; }", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), HIDING)
def test_what_could_hide_code(text: str, line: int) -> None:
    with pytest.raises(NotInSubset) as refusal:
        value(text)
    assert refusal.value.where == f"source.c:{line}"
