"""Random C functions of integers, within the subset that intnn.ccheck reads, some of them with undefined behaviour.

Equal seeds give equal functions. Every name at file scope begins with the function's own, so that hundreds of
functions make one translation unit. What the subset wants concrete (indices, shift amounts, ends of loops, operands
of | and ^) is made of constants and of variables that only constants reach.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from c_expressions import FIXED, RANGES, RISK, Expressions, Helper, Variable, literal

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class CFunction:
    """``text`` is a translation unit with the function ``name``; ``params`` are its parameters' types."""

    name: str
    text: str
    params: tuple[str, ...]

    def rows(self, count: int, seed: int) -> npt.NDArray[np.int64]:
        """Arguments, (count, parameters): ends of the types' ranges, small and arbitrary values."""
        rng = random.Random(f"{self.name} {seed}")
        table = []
        for _ in range(count):
            ranges = [RANGES[t] for t in self.params]
            pick = rng.choice(("small", "any", "mixed"))
            table.append([_argument(rng, pick, low, high) for low, high in ranges])
        return np.array(table, np.int64)


def _argument(rng: random.Random, pick: str, low: int, high: int) -> int:
    kind = rng.choice(("small", "any", "end")) if pick == "mixed" else pick
    if kind == "end":
        return rng.choice((low, high, low + 1, high - 1, max(low, -1), 0))
    return rng.randint(max(low, -20), min(high, 20)) if kind == "small" else rng.randint(low, high)


@dataclass
class Writer(Expressions):
    """Writes one translation unit. ``path`` numbers the paths that conditions on arguments make."""

    result: str = "int32_t"
    path: int = 0
    loops: int = 0
    returned: bool = False

    def declare(self, concrete: bool = False) -> None:
        t, name = self.rng.choice([*RANGES]), self.fresh("v")
        v = Variable(name, t, concrete=concrete, path=self.path)
        if not concrete and self.rng.random() < RISK / 10:  # written on some paths only, or not at all
            self.put(f"{t} {name};")
            if self.rng.random() < 0.8:
                self.scopes[-1].append(v)
                self.put(f"if ({self.expression(1).text}) {name} = {self.assigned(t, self.expression(1))};")
                return
        else:
            self.put(f"{t} {name} = {self.assigned(t, self.expression(2, not concrete))};")
        self.scopes[-1].append(v)

    def declare_array(self) -> None:
        t, name, n = self.rng.choice([*FIXED, "int16_t", "int32_t"]), self.fresh("a"), self.rng.randint(2, 5)
        v = Variable(name, t, "array", sizes=(n,))
        if self.rng.random() < 0.4:
            values = [self.constant(*RANGES[t]).text for _ in range(self.rng.randint(1, n))]
            self.put(f"{t} {name}[{n}] = {{{', '.join(values)}}};")
            self.scopes[-1].append(v)
            return
        self.put(f"{t} {name}[{n}];")
        with self.counted(n - self.reckless()) as i:
            self.put(f"{name}[{i}] = {self.assigned(t, self.expression(2))};")
        self.scopes[-1].append(v)

    def assign(self) -> None:
        own = [v for v in self.reach("scalar", "array") if not v.fixed and (not v.concrete or v.path == self.path)]
        if not own:
            return
        v = self.rng.choice(own)
        target, data = self.load(v).text, not v.concrete
        op = self.rng.choice(["="] * 5 + ["+=", "-=", "*=", "<<=", ">>=", "&=", "++", "--"] + ["|=", "^="] * v.concrete)
        low, high = RANGES[v.type]
        if op in ("++", "--") and v.kind == "scalar":
            self.put(self.rng.choice((f"{target}{op};", f"{op}{target};")))
        elif op in ("<<=", ">>="):
            safe = low == 0 and (v.type != "uint32_t" or op == ">>=")
            if safe or self.rng.random() < RISK:
                self.put(f"{target} {op} {self.amount().text};")
        elif op == "&=":
            self.put(f"{target} &= {(1 << self.rng.randint(1, 15)) - 1};")
        elif op in ("+=", "-=", "*="):
            value = self.expression(1, data)
            if low < 0:  # what a signed type holds may overflow it: most often a little is added only
                value = value if self.rng.random() < RISK else self.mask(value, -9, 9)
            self.put(f"{target} {op} {value.text};")
        elif op in ("|=", "^="):
            self.put(f"{target} {op} {self.mask(self.expression(1, False), 0, high).text};")
        else:
            self.put(f"{target} = {self.assigned(v.type, self.expression(3, data))};")

    @contextmanager
    def counted(self, n: int) -> Iterator[str]:
        """A loop of ``n`` turns of one of many shapes, and the name of its counter."""
        i = self.fresh("i")
        counter = Variable(i, "int", concrete=True, path=self.path, sizes=(max(n, 1),), fixed=True)
        shape = self.rng.choice(("up", "up", "down", "while", "do"))
        if shape == "up":
            head = f"for (int {i} = 0; {i} < {n}; {i}++)"
        elif shape == "down":
            head = f"for (int {i} = {n - 1}; {i} >= 0; --{i})"
        else:
            self.put(f"int {i} = 0;")
            head = f"while ({i} != {n})" if shape == "while" else "do"
            n = max(n, 1)
        with self.block(head):
            self.loops += 1
            self.scopes[-1].append(counter)
            yield i
            self.loops -= 1
            if shape in ("while", "do"):
                self.put(self.rng.choice((f"{i}++;", f"{i} += 1;", f"++{i};")))
        if shape == "do":
            self.lines[-1] += f" while ({i} < {n});"

    def loop(self, depth: int) -> None:
        with self.counted(self.rng.randint(1, 4)) as i:
            if " for (" in self.lines[-1] and self.rng.random() < 0.2:
                self.put(f"if ({i} == {self.rng.randint(0, 3)}) continue;")
            self.statements(depth - 1, 2)
            if self.rng.random() < 0.2:
                self.put(f"if ({i} > {self.rng.randint(0, 3)}) break;")
                self.assign()

    def branch(self, depth: int) -> None:
        concrete = self.rng.random() < 0.2
        outer, returned, self.returned = self.path, self.returned, False
        with self.block(f"if ({self.expression(2, not concrete).text})"):
            self.path = outer if concrete else self.path + 1
            self.statements(depth - 1, 2)
            self.leave(0.25)
        if self.rng.random() < 0.5:
            with self.block("else"):
                self.path = outer if concrete else self.path + 1
                self.statements(depth - 1, 2)
                self.leave(0.1)
        self.path = self.path + 1 if self.returned else outer
        self.returned |= returned

    def leave(self, chance: float) -> None:
        if not self.loops and self.rng.random() < chance:
            self.put(f"return {self.assigned(self.result, self.expression(2))};")
            self.returned = True

    def walk(self) -> None:
        """A pointer over an array or a row of a table."""
        arrays = self.reach("array", "table")
        if not arrays:
            return
        v, p, s = self.rng.choice(arrays), self.fresh("p"), self.fresh("s")
        row = v.name + "".join(f"[{self.rng.randrange(n)}]" for n in v.sizes[:-1])
        const, n = "const " * (v.kind == "table" or self.rng.random() < 0.5), v.sizes[-1]
        self.put(f"{const}{v.type} *{p} = {row};")
        self.put(f"uint32_t {s} = 0;")
        style = self.rng.randrange(3)
        if style == 0:
            end = self.fresh("e")
            self.put(f"{const}{v.type} *const {end} = {p} + {n + self.reckless()};")
            with self.block(f"while ({p} < {end})"):
                if not const and self.rng.random() < 0.5:
                    self.put(f"*{p}++ = {self.assigned(v.type, self.expression(1))};")
                else:
                    self.put(f"{s} += (uint32_t)*{p}++;")
        elif style == 1:
            with self.counted(n + self.reckless()) as i:
                self.put(f"{s} = {s} * 3u + (uint32_t){p}[{i}];")
        else:
            with self.block(f"for ({p} = {p} + {n - 1}; {p} > {row}; {p}--)"):
                self.put(f"{s} -= (uint32_t)*{p};" if const else f"*{p} = {self.assigned(v.type, self.expression(1))};")
        self.scopes[-1].append(Variable(s, "uint32_t"))

    def statements(self, depth: int, count: int) -> None:
        for _ in range(self.rng.randint(1, count)):
            kind = self.rng.choice(
                ["assign"] * 4
                + ["declare"] * 2
                + ["array", "walk", "concrete", "pass"]
                + ["loop", "branch"] * 2 * (depth > 0)
            )
            match kind:
                case "assign":
                    self.assign()
                case "declare" | "concrete":
                    self.declare(kind == "concrete")
                case "array":
                    self.declare_array()
                case "walk":
                    self.walk()
                case "loop":
                    self.loop(depth)
                case "branch":
                    self.branch(depth)
                case "pass":
                    self.pass_arrays()

    def pass_arrays(self) -> None:
        """A call of one of two helpers that walk what pointers lead to; sometimes they walk too far."""
        wide = [v for v in self.reach("array") if v.type == "int32_t"]
        narrow = [v for v in self.reach("array", "table") if v.type == "int16_t" and len(v.sizes) == 1]
        if wide and self.rng.random() < 0.5:
            v = self.rng.choice(wide)
            n = v.sizes[0] + self.reckless()
            self.put(f"{self.prefix}fill({v.name}, {n}, {self.assigned('int32_t', self.expression(1))});")
        elif narrow:
            a, b, s = self.rng.choice(narrow), self.rng.choice(narrow), self.fresh("s")
            n = min(a.sizes[0], b.sizes[0]) + self.reckless()
            self.put(f"int32_t {s} = {self.prefix}dot({a.name}, {b.name}, {n});")
            self.scopes[-1].append(Variable(s, "int32_t"))

    # The translation unit

    def tables(self) -> None:
        for _ in range(self.rng.randint(1, 2)):
            t, name = self.rng.choice(FIXED), self.prefix + self.fresh("t")
            sizes = self.rng.choice(((3,), (5,), (2, 3), (3, 2)))
            values = [self.constant(*RANGES[t]).text for _ in range(int(np.prod(sizes)))]
            if len(sizes) == 2:
                rows = [values[k : k + sizes[1]] for k in range(0, len(values), sizes[1])]
                values = [f"{{{', '.join(row)}}}" for row in rows]
            dims = "".join(f"[{n}]" for n in sizes)
            self.put(f"static const {t} {name}{dims} = {{{', '.join(values)}}};")
            self.scopes[-1].append(Variable(name, t, "table", sizes=sizes))

    def function(self, name: str, params: int, size: int, static: bool) -> tuple[str, ...]:
        types = tuple(self.rng.choice([*RANGES]) for _ in range(params))
        self.result = self.rng.choice(["int32_t", "int32_t", "int", "uint32_t", "int16_t", "uint8_t"])
        names = [self.fresh("x") for _ in types]
        head = ", ".join(f"{t} {x}" for t, x in zip(types, names, strict=True))
        self.path, self.returned = 0, False
        with self.block(f"{'static ' * static}{self.result} {name}({head})"):
            self.scopes[-1] += [Variable(x, t) for t, x in zip(types, names, strict=True)]
            self.statements(2, size)
            self.put(f"return {self.assigned(self.result, self.expression(3))};")
        return types


def c_function(seed: int) -> CFunction:
    """The function of this seed."""
    rng = random.Random(seed)
    name = f"f{seed}"
    writer = Writer(rng, f"{name}_")
    writer.put("#include <stdint.h>")
    writer.tables()
    with writer.block(f"static void {name}_fill(int32_t *p, int n, int32_t v)"):
        writer.put("for (int i = 0; i < n; i++) p[i] = v;")
    with writer.block(f"static int32_t {name}_dot(const int16_t *p, const int16_t *q, int n)"):
        writer.put("int32_t s = 0;")
        writer.put("while (n-- > 0) s += (int32_t)*p++ * *q++;")
        writer.put("return s;")
    for k in range(rng.randint(0, 2)):
        helper = f"{name}_h{k}"
        types = writer.function(helper, rng.randint(1, 3), 2, static=True)
        writer.helpers.append(Helper(helper, types, writer.result))
    params = writer.function(name, rng.randint(1, 4), 7, static=False)
    return CFunction(name, "\n".join(writer.lines) + "\n", params)


def with_calls(function: CFunction, rows: npt.NDArray[np.int64]) -> CFunction:
    """The same with a function of no parameters for each row, ``NAME_call0`` and so on, that calls it on constants."""
    start = next(line for line in function.text.splitlines() if f" {function.name}(" in line)
    result, text = start.split()[0], function.text.replace(start, f"static {start}")
    calls = [
        f"{result} {function.name}_call{k}(void) {{ return {function.name}({', '.join(map(literal, row))}); }}\n"
        for k, row in enumerate(rows.tolist())
    ]
    return replace(function, text=text + "".join(calls))
