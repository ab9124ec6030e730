"""From text to syntax tree: comments, the few preprocessor lines of the subset, tables, then pycparser.

No preprocessor runs: the subset needs none (docs/verifying-c.md), and what could hide a meaning is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intnn.ccheck.cmodel import FIXED

TABLE = "intnn__table_"
"""Stands, in what pycparser reads, for the braces of a table of plain numbers, which are read on their own."""

MAX_BYTES = 1 << 24

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*([a-z_]*)[ \t]*(.*)")
_NUMBERS = re.compile(r"=(\s*)(\{[\s\d,{}-]*\})(?=\s*[;,])")
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
_REFUSED = {
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
}
_DEPTH = 8


class NotInSubset(Exception):  # noqa: N818  # a verdict rather than an error
    """The text is not in the subset of C that is understood here; ``where`` is ``file:line`` or empty."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where


@dataclass
class Source:
    """A translation unit: pycparser's tree, and the tables of numbers that were taken out of it."""

    tree: Any
    tables: list[list[Any]] = field(default_factory=list)


def read(text: str, name: str = "source.c", headers: Mapping[str, str] | None = None) -> Source:
    """Parse ``text``; ``headers`` are the texts that ``#include "..."`` may name. Raises :class:`NotInSubset`."""
    from pycparser import c_parser  # only where C is read: importing it takes as long as a proof

    reader = _Reader(dict(headers or {}))
    body = reader.expand(text, name, 0)
    tables: list[list[Any]] = []

    def take(match: re.Match[str]) -> str:
        braces = re.sub(r",\s*}", "}", match[2])
        try:
            table = json.loads(braces.replace("{", "[").replace("}", "]"))
        except ValueError:  # octal, or not a table after all: the parser decides
            return match[0]
        tables.append(table)
        return f"={match[1]}{{{TABLE}{len(tables) - 1}{chr(10) * match[2].count(chr(10))}}}"

    body = _NUMBERS.sub(take, body)
    prelude = "".join(f"typedef int {type_};" for type_ in FIXED)
    try:
        tree = c_parser.CParser().parse(f"{prelude}\n{body}", name)
    except c_parser.ParseError as error:
        place, _, message = str(error).partition(": ")
        raise NotInSubset(f"cannot be parsed: {message}", ":".join(place.split(":")[:2])) from None
    except RecursionError:
        raise NotInSubset("nested too deeply", name) from None
    tree.ext = tree.ext[len(FIXED) :]
    return Source(tree, tables)


class _Reader:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.macros: dict[str, str] = {}

    def expand(self, text: str, name: str, depth: int) -> str:
        """``text`` without comments and directives, macros replaced; line numbers are kept by line markers."""
        if len(text) > MAX_BYTES:
            raise NotInSubset(f"longer than {MAX_BYTES} characters", name)
        if splice := re.search(r"(\\|\?\?/)[ \t\r]*\n", text):  # even in a comment: it would make the next line one
            self._refuse("a line that ends in a backslash", name, text.count("\n", 0, splice.start()) + 1)
        plain = _COMMENT.sub(lambda m: " " + "\n" * m[0].count("\n"), text)
        if bad := re.search(r"[^\t\n\r\x20-\x7e]|\\|\?\?[=/'()!<>-]|" + TABLE, plain):
            self._refuse(f"{bad[0]!r} outside a comment", name, plain.count("\n", 0, bad.start()) + 1)
        lines = [f'#line 1 "{name}"']
        active = [True]  # one entry a nested #if; text is kept where all are true
        for number, line in enumerate(plain.splitlines(), 1):
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
            case "ifdef" | "ifndef":
                active.append((rest in self.macros) == (kind == "ifdef"))
            case "else" if len(active) > 1:
                active[-1] = not active[-1]
            case "endif" if len(active) > 1:
                active.pop()
            case _ if not all(active):
                pass
            case "include" if rest == "<stdint.h>":
                pass
            case "include" if rest[:1] + rest[-1:] == '""' and rest[1:-1] in self.headers and depth < _DEPTH:
                return self.expand(self.headers[rest[1:-1]], rest[1:-1], depth + 1)
            case "include":
                self._refuse(f"#include {rest}: only <stdint.h> and headers beside the file are read", name, number)
            case "define" if match := re.fullmatch(r"([A-Za-z_]\w*)(?:\s+(.*))?", rest):
                if match[1] in FIXED or self.macros.get(match[1], match[2] or "") != (match[2] or ""):
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
        if '"' in line or "'" in line:
            self._refuse("a string or character constant", name, number)
        for _ in range(_DEPTH):
            if not any(word in self.macros for word in _WORD.findall(line)):
                break
            line = _WORD.sub(lambda m: self.macros.get(m[0], m[0]), line)
        for word in _WORD.findall(line):
            if word in _REFUSED:
                self._refuse(_REFUSED[word], name, number)
        return line

    @staticmethod
    def _refuse(what: str, name: str, number: int) -> None:
        raise NotInSubset(what, f"{name}:{number}")
