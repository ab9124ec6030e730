"""From text to syntax tree: comments, the few preprocessor lines of the subset, tables, then pycparser.

No preprocessor runs: the subset needs none (docs/verifying-c.md), and what could hide a meaning is refused.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from intnn.ccheck.cmodel import FIXED, LIMITS

TABLE = "intnn__table_"
"""Stands, in what pycparser reads, for the braces of a table of plain numbers, which are read on their own."""

MAX_BYTES = 1 << 24

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*([a-z_]*)[ \t]*(.*)")
_NUMBERS = re.compile(r"=(\s*)(\{[\s\d,{}-]*\})(?=\s*[;,])")
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
_REFUSED: dict[str, str | None] = {
    "float": "floating point",
    "double": "floating point",
    "int64_t": "a 64-bit type",
    "uint64_t": "a 64-bit type",
    "goto": "goto",
    "switch": "switch",
    "struct": "a struct",
    "union": "a union",
    "volatile": "volatile",
    "asm": "assembly",
    "register": "register",
    "sizeof": "sizeof",
    "extern": "extern",
    **dict.fromkeys(["restrict", "auto", "typeof", "_Bool", "_Complex", "_Imaginary", "_Noreturn", "_Atomic"]),
    **dict.fromkeys(["_Alignas", "_Alignof", "_Generic", "_Thread_local", "_Static_assert"]),
}
_KEYWORDS = {
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "else",
    "enum",
    "for",
    "if",
    "inline",
    "int",
}
_KEYWORDS |= {"long", "return", "short", "signed", "static", "typedef", "unsigned", "void", "while", "defined"}
_STDINT = re.compile(r"U?INT(\d+|_\w+|PTR|MAX)_(MIN|MAX|C)|(PTRDIFF|SIZE|WCHAR|WINT|SIG_ATOMIC)_(MIN|MAX)")
_DEPTH = 8
_QUOTED = re.compile(r'[ \t]*(#[ \t]*include[ \t]*"[\w.-]+"|extern[ \t]+"C"[ \t]*\{?)[ \t\r]*')


class NotInSubset(Exception):  # noqa: N818  # a verdict rather than an error
    """The text is not in the subset of C that is understood here; ``where`` is ``file:line`` or empty."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where


@dataclass
class Source:
    """A translation unit: pycparser's tree, the tables of numbers that were taken out of it, and whether anything in it
    may be a ``long``."""

    tree: Any
    tables: list[list[Any]] = field(default_factory=list)
    long: bool = True


def read(text: str, name: str = "source.c", headers: Mapping[str, str] | None = None) -> Source:
    """Parse ``text``; ``headers`` are the texts that ``#include "..."`` may name. Raises :class:`NotInSubset`."""
    with deep(name):
        return _read(text, name, headers)


@contextmanager
def deep(name: str) -> Iterator[None]:
    """Room for sums of a thousand terms, each of which nests in the next; what is deeper is refused."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))  # Python 3.11 keeps its own calls off the C stack
    try:
        yield
    except RecursionError:
        raise NotInSubset("nested too deeply", name) from None
    finally:
        sys.setrecursionlimit(before)


def _read(text: str, name: str, headers: Mapping[str, str] | None) -> Source:
    from pycparser import c_parser  # only where C is read: importing it takes as long as a proof

    reader = _Reader(dict(headers or {}))
    body = reader.expand(text, name, 0)
    tables: list[list[Any]] = []

    def take(match: re.Match[str]) -> str:
        braces = re.sub(r",\s*}", "}", match[2])
        try:
            table = json.loads(braces.replace("{", "[").replace("}", "]"))
        except (ValueError, RecursionError):  # octal, or not a table after all: the parser decides
            return match[0]
        if "[]" in re.sub(r"\s", "", braces.replace("{", "[").replace("}", "]")):  # not C
            return match[0]
        tables.append(table)
        return f"={match[1]}{{{TABLE}{len(tables) - 1}{chr(10) * match[2].count(chr(10))}}}"

    body = _NUMBERS.sub(take, body)
    prelude = "".join(f"typedef int {type_};" for type_ in FIXED)
    try:
        parser = c_parser.CParser()
        tree = parser.parse(f"{prelude}\n{body}", name)
    except c_parser.ParseError as error:
        place, _, message = str(error).partition(": ")
        line = place.split(":")[1:2] or [str(getattr(parser.clex, "_lineno", ""))]  # it knows, and does not always say
        raise NotInSubset(f"cannot be parsed: {message}", f"{place.split(':')[0]}:{line[0]}") from None
    tree.ext = tree.ext[len(FIXED) :]
    return Source(tree, tables, long=bool(re.search(r"\blong\b|\d\w*[lL]", body)))


def _guard(text: str) -> set[str]:
    """The macro of a header guard, ``#ifndef X``, ``#define X`` ... ``#endif`` around all of ``text``."""
    lines = [" ".join(line.replace("#", "# ").split()) for line in text.splitlines() if line.strip()]
    if len(lines) < 3 or not (match := re.fullmatch("# ifndef ([A-Z][A-Z0-9_]*)", lines[0])):
        return set()
    depth = 0
    for number, line in enumerate(lines):
        depth += line.startswith("# if")
        if depth == 1 and (line == "# else" or (line == "# endif" and number < len(lines) - 1)):
            return set()
        depth -= line == "# endif"
    return {match[1]} if lines[1] == f"# define {match[1]}" and depth == 0 else set()


class _Reader:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.macros: dict[str, str] = {}
        self.known = {"__cplusplus"}  # what a compiler would know of no more than we do
        self.included = False  # <stdint.h>
        self.coded = False  # something else than directives

    def expand(self, text: str, name: str, depth: int) -> str:
        """``text`` without comments and directives, macros replaced; line numbers are kept by line markers."""
        if len(text) > MAX_BYTES:
            raise NotInSubset(f"longer than {MAX_BYTES} characters", name)
        # Even in a comment: these make the next line part of it, or end it early.
        if splice := re.search(r"(\\|\?\?/)[ \t\r\f\v]*\n|\r(?!\n)", text):
            what = "a carriage return" if splice[0] == "\r" else "a line that ends in a backslash"
            self._refuse(what, name, text.count("\n", 0, splice.start()) + 1)
        plain = _COMMENT.sub(lambda m: " " + "\n" * m[0].count("\n"), text)
        if bad := re.search(r"[^\t\n\r\x20-\x7e]|\\|\?\?[=/'()!<>-]|%:|<%|%>|<:|:>|" + TABLE, plain):
            self._refuse(f"{bad[0]!r} outside a comment", name, plain.count("\n", 0, bad.start()) + 1)
        if "/*" in plain:
            self._refuse("a comment that does not end", name, plain.count("\n", 0, plain.index("/*")) + 1)
        lines = [f'#line 1 "{name}"']
        self.known |= _guard(plain)
        active = [True]  # one entry a nested #if; text is kept where all are true
        for number, line in enumerate(plain.splitlines(), 1):
            if re.search(r"[\"']", line) and not _QUOTED.fullmatch(line):
                words = [word for word in _WORD.findall(line) if word in _REFUSED or re.match("_[_A-Z]", word)]
                self._refuse(words[0] if words else f"{line.strip()[:60]}: text in quotes", name, number)
            directive = _DIRECTIVE.fullmatch(line)
            if directive:
                extra = self._directive(directive[1], directive[2].strip(), active, name, number, depth)
                lines.append(f'{extra}\n#line {number + 1} "{name}"' if extra else "")
            else:
                lines.append(self._replace(line, name, number) if all(active) else "")
        if len(active) != 1:
            self._refuse("#ifdef without #endif", name, plain.count("\n") + 1)
        return "\n".join(lines)

    def _directive(self, kind: str, rest: str, active: list[bool], name: str, number: int, depth: int) -> str:
        match kind:
            case "if" | "elif":
                self._refuse(f"#{kind}", name, number)
            case "ifdef" | "ifndef" if not all(active):
                active.append(False)
            case "ifdef" | "ifndef":
                if not re.fullmatch(r"[A-Za-z_]\w*", rest) or rest not in self.macros.keys() | self.known:
                    self._refuse(f"#{kind} {rest}: not a macro of the file or a header guard", name, number)
                active.append((rest in self.macros) == (kind == "ifdef"))
            case "else" | "endif" if rest:
                self._refuse(f"#{kind} {rest}", name, number)
            case "else" if len(active) > 1:
                active[-1] = not active[-1]
            case "endif" if len(active) > 1:
                active.pop()
            case _ if not all(active):
                pass
            case "include" if rest == "<stdint.h>" and (self.included or not (self.coded or any(self.macros.values()))):
                self.included = True
            case "include" if rest == "<stdint.h>":
                self._refuse("#include <stdint.h> after something that could change it", name, number)
            case "include" if rest[:1] + rest[-1:] == '""' and rest[1:-1] in self.headers and depth < _DEPTH:
                return self.expand(self.headers[rest[1:-1]], rest[1:-1], depth + 1)
            case "include":
                self._refuse(f"#include {rest}: neither <stdint.h> nor a header beside the file", name, number)
            case "define" if match := re.fullmatch(r"([A-Za-z_]\w*)(?:\s+(.*))?", rest):
                kept = re.match("_|.*_t$", match[1]) or _STDINT.match(match[1])
                known = self.macros.get(match[1], match[2] or "") != (match[2] or "")
                if kept or known or match[1] in _REFUSED or match[1] in _KEYWORDS:
                    self._refuse(f"a second meaning of {match[1]}", name, number)
                self.macros[match[1]] = match[2] or ""
            case "pragma" if rest == "once":
                pass
            case "":
                pass
            case _:
                self._refuse(f"#{kind} {rest}".strip(), name, number)
        return ""

    def _replace(self, line: str, name: str, number: int) -> str:
        for _ in range(_DEPTH):
            if not any(word in self.macros for word in _WORD.findall(line)):
                break
            line = _WORD.sub(lambda m: f" {self.macros[m[0]]} " if m[0] in self.macros else m[0], line)
        else:
            self._refuse("macros nested too deeply", name, number)
        self.coded |= not line.isspace() and line != ""
        for word in _WORD.findall(line):
            reserved = re.match("_[_A-Z]", word) is not None
            if word in (FIXED.keys() | LIMITS.keys()) and not self.included:
                self._refuse(f"{word} without #include <stdint.h>", name, number)
            if reserved or (_STDINT.fullmatch(word) and word not in LIMITS):
                self._refuse(word, name, number)
            if word in _REFUSED:
                self._refuse(_REFUSED[word] or word, name, number)
        return line

    @staticmethod
    def _refuse(what: str, name: str, number: int) -> None:
        raise NotInSubset(what, f"{name}:{number}")
