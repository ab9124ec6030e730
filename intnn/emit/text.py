"""C as text: literals, tables, comments, and which names may be used."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from intnn.arithmetic import INT32_MIN
from intnn.errors import UsageError

WIDTH = 100
LONGEST_PREFIX = 24

_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while

alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield
compl concept consteval constexpr constinit const_cast decltype delete dynamic_cast explicit export false friend
mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast requires
static_assert static_cast template this thread_local throw true try typeid typename using virtual wchar_t xor xor_eq

defined errno main NULL
"""
RESERVED = frozenset(_WORDS.split())
"""Words of C99 and C11, of C++, and of their libraries, that nobody expects to begin a name."""

STDINT = re.compile(r"u?int(_least|_fast)?(8|16|32|64)_t|u?int(ptr|max)_t|U?INT\w*_(MIN|MAX|C)|(PTRDIFF|SIZE)_M(IN|AX)")


HEADERS = re.compile(
    "assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdarg|stdbool|stddef|stdint"
    "|stdio|stdlib|string|tgmath|time|wchar|wctype"
)
"""What <...> includes."""


def check_prefix(prefix: str) -> str:
    """``prefix`` itself; raises :class:`UsageError` ``emit.prefix`` where no name in C should begin with it."""
    wrong = ""
    if not isinstance(prefix, str):
        wrong = "is not text"
    elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix, re.ASCII):
        wrong = "is not an identifier of C"
    elif len(prefix) > LONGEST_PREFIX:
        wrong = f"is longer than {LONGEST_PREFIX} characters"
    elif prefix.startswith("_") or "__" in prefix:
        wrong = "is reserved for compilers: a leading or a double underscore"
    elif prefix.endswith("_"):
        wrong = "ends with an underscore, and one is put after it"
    elif prefix in RESERVED:
        wrong = "is a reserved word of C or C++"
    elif HEADERS.fullmatch(prefix):
        wrong = "is a header of C: #include would find the wrong one"
    elif STDINT.fullmatch(prefix):
        wrong = "is a name of <stdint.h>"
    if wrong:
        raise UsageError(
            "emit.prefix",
            f"prefix {str(prefix)[:40]!r} {wrong}",
            expected=f"a letter, then letters, digits and single underscores, at most {LONGEST_PREFIX} in all",
            repair='choose another, such as "net"',
        )
    return prefix


def literal(value: int) -> str:
    """``value``, in int32, as a constant expression of C99."""
    return "(-2147483647 - 1)" if value == INT32_MIN else str(int(value))


def smallest_type(values: Iterable[int]) -> str:
    """The smallest of the tables' integer types that holds every one of ``values``, which are in int32."""
    least, most = min(values := list(values)), max(values)
    for bits in (8, 16):
        if least >= 0 and most < 1 << bits:
            return f"uint{bits}_t"
        if -(1 << bits - 1) <= least and most < 1 << bits - 1:
            return f"int{bits}_t"
    return "int32_t"


def table(declarator: str, rows: Sequence[Sequence[int]], *, nested: bool = False) -> str:
    """A constant table ``declarator``, say ``int8_t net_bias0[3]``; each row begins a line, in braces if ``nested``."""
    before, after = ("{", "},") if nested else ("", ",")
    lines = [line for row in rows for line in fill(before + ", ".join(map(literal, row)) + after)]
    lines[-1] = lines[-1].removesuffix(",")
    return "\n".join([f"static const {declarator} = {{", *lines, "};"])


def fill(text: str, indent: str = "    ") -> list[str]:
    """``text`` as lines of at most :data:`WIDTH` columns."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def comment(*paragraphs: str) -> str:
    """A block comment; an empty paragraph is an empty line."""
    lines = [line for text in paragraphs for line in (fill(text, " * ") or [" *"])]
    return "\n".join(["/*", *lines, " */"])


def harmless(text: str) -> str:
    """``text`` from a model file, fit for a comment: nothing in it can end one, begin one or join lines.

    Asterisks, backslashes, question marks (trigraphs) and what is not printable ASCII become ``_``.
    """
    kept = "".join(c if c.isascii() and c.isprintable() and c not in "*\\?" else "_" for c in text)
    return re.sub("/(?=/)", "/ ", kept)


def call(head: str, arguments: Sequence[str], tail: str, indent: str) -> str:
    """``head(arguments)tail``, wrapped after commas where it is too long for a line."""
    line = f"{indent}{head}({', '.join(arguments)}){tail}"
    if len(line) <= WIDTH:
        return line
    kept = (argument.replace(" ", "\x7f") for argument in arguments)  # a line ends between arguments only
    inner = fill(", ".join(kept) + ")" + tail, indent + "    ")
    return "\n".join([f"{indent}{head}(", *inner]).replace("\x7f", " ")
