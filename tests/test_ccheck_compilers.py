"""The verifier's front end against gcc, clang and their sanitizers, and against emulated 32-bit machines, bit by bit.

Random functions of the subset are called on random arguments, in lanes here and by compiled code there. Where we find
no trap, every compiler at every level gives our value, and the sanitizers are silent; where a sanitizer reports, we
trap. Conversely, where the first thing we find is an overflow, a shift or an access out of bounds, the sanitizers
report it. What they cannot see is left out of that direction: implementation-defined shifts and conversions, reads of
uninitialised values, pointers that are out of bounds but not followed, and those that step from row to row of a table.

All functions are one translation unit. Its driver runs the calls in a child process, leaves a call at UBSan's trap
instruction by a long jump, and forks anew where AddressSanitizer ends the child.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from c_functions import CFunction, c_function

from intnn.ccheck.batch import call
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import read
from intnn.targets import emulate
from intnn.targets.compilers import find

pytestmark = [
    pytest.mark.compilers,
    pytest.mark.skipif(sys.platform == "win32", reason="the driver forks"),
]

FUNCTIONS, ROWS, WIDTH = 500, 40, 4
SANITIZE = {
    "gcc": ("-fsanitize=undefined,address", "-fsanitize-undefined-trap-on-error"),
    "clang": ("-fsanitize=undefined,address", "-fsanitize-trap=undefined"),
}
SEEN = ("overflow", "a negative value shifted left", "a 32-bit value shifted by", "access to element")
"""Kinds of traps that the sanitizers see, too; ``overflow`` includes that of a left shift."""

DRIVER = """
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
struct shared { long at; struct result { int64_t value, status; } results[CALLS]; };
static int64_t calls[CALLS][WIDTH + 1];
static sigjmp_buf jump;
static void caught(int number) { siglongjmp(jump, number); }
static void run(struct shared *s, long i) {
    signal(SIGILL, caught);
    signal(SIGTRAP, caught);
    for (; i < CALLS; i++) {
        s->at = i;
        if (sigsetjmp(jump, 1)) { s->results[i].status = 2; continue; }
        s->results[i].value = callers[calls[i][0]](calls[i] + 1);
        s->results[i].status = 1;
    }
}
int main(int count, char **names) {
    struct shared *s = mmap(0, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FILE *in = fopen(names[1], "rb"), *out = fopen(names[2], "wb");
    if (s == MAP_FAILED || fread(calls, sizeof calls, 1, in) != 1) return 1;
    for (long i = 0; i < CALLS; i++) {
        int status, child = fork();
        if (child == 0) { run(s, i); _exit(0); }
        waitpid(child, &status, 0);
        if (status == 0) break;
        i = s->at;
        s->results[i].status = 3;
    }
    return fwrite(s->results, sizeof s->results, 1, out) != 1 || fclose(out);
}
"""
RETURNED = 1


class Calls(NamedTuple):
    """Calls and what we say of them: arguments (calls, WIDTH), values (calls,), and the kind of trap or ''."""

    functions: list[CFunction]
    which: npt.NDArray[np.int64]
    arguments: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]
    kinds: list[str]

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        return np.array([not kind for kind in self.kinds])

    def of(self, i: int) -> str:
        """What call ``i`` is, for messages."""
        function = self.functions[self.which[i]]
        arguments = ", ".join(map(str, self.arguments[i, : len(function.params)]))
        return f"{function.name}({arguments}), we: {self.kinds[i] or self.values[i]}\n{function.text}"


@pytest.fixture(scope="module")
def calls() -> Calls:
    functions = [c_function(seed) for seed in range(FUNCTIONS)]
    arguments, values, kinds = [], [], []
    for function in functions:
        rows = function.rows(ROWS, 0)
        ours, traps = call(read(function.text), MODELS["int32"], function.name, rows)
        arguments.append(np.pad(rows, ((0, 0), (0, WIDTH - rows.shape[1]))))
        values.append(ours)
        kinds += [traps[k].kind if k in traps else "" for k in range(ROWS)]
    which = np.repeat(np.arange(FUNCTIONS), ROWS)
    return Calls(functions, which, np.concatenate(arguments), np.concatenate(values), kinds)


def unit(calls: Calls, word: str) -> str:
    """All functions, and ``callers``: each takes its arguments from an array of ``word``, and returns one."""
    text = [function.text for function in calls.functions]
    for k, function in enumerate(calls.functions):
        arguments = ", ".join(f"({t})a[{n}]" for n, t in enumerate(function.params))
        text.append(f"static {word} caller{k}(const {word} *a) {{ return ({word}){function.name}({arguments}); }}\n")
    names = ", ".join(f"caller{k}" for k in range(len(calls.functions)))
    return "".join(text) + f"static {word} (*const callers[])(const {word} *) = {{{names}}};\n"


def compiled(
    calls: Calls, chosen: npt.NDArray[np.bool_], folder: Path, compiler: str, *options: str
) -> npt.NDArray[np.int64]:
    """What the compiled functions do on the chosen calls: (chosen, 2), values and RETURNED or another status."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    count = int(chosen.sum())
    head = f"#define _DEFAULT_SOURCE\n#define CALLS {count}\n#define WIDTH {WIDTH}\n"
    (folder / "unit.c").write_text(head + unit(calls, "int64_t") + DRIVER)
    command = [compiler, "-std=c99", "-w", *options, "unit.c", "-o", "unit"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if re.search(r"cannot find .*[au]b?san", done.stderr):
        pytest.skip(f"{compiler} has no sanitizers: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    np.column_stack([calls.which, calls.arguments])[chosen].tofile(folder / "in")
    quiet = {"ASAN_OPTIONS": "detect_leaks=0:symbolize=0:detect_stack_use_after_return=0"}
    command = [str(folder / "unit"), "in", "out"]
    subprocess.run(command, cwd=folder, env=os.environ | quiet, stderr=subprocess.DEVNULL, timeout=120, check=True)
    return np.fromfile(folder / "out", np.int64).reshape(count, 2)


def test_the_calls_are_of_all_kinds(calls: Calls) -> None:
    """About half of the calls are good, many functions have good calls and bad ones, and each kind of trap is there."""
    assert 0.4 <= calls.good.mean() <= 0.65
    share = calls.good.reshape(FUNCTIONS, ROWS).mean(axis=1)
    assert ((share > 0) & (share < 1)).mean() > 0.3
    starts = (*SEEN, "a negative value shifted right", "conversion", "read of")
    found = Counter(start for kind in calls.kinds for start in starts if kind.startswith(start))
    assert all(found[start] >= 20 for start in starts), found
    assert len(np.unique(calls.values[calls.good])) > 1000


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_values(calls: Calls, tmp_path: Path, compiler: str, level: str) -> None:
    theirs = compiled(calls, calls.good, tmp_path, compiler, level)
    good = np.flatnonzero(calls.good).tolist()
    for i, (value, status) in zip(good, theirs, strict=True):
        assert status == RETURNED, calls.of(i)
        assert value == calls.values[i], f"{compiler} {level}: {value}; {calls.of(i)}"


@pytest.fixture(scope="module")
def reports(calls: Calls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, npt.NDArray[np.int64]]:
    """What all calls do under each compiler's sanitizers, by compiler, of those that are installed."""
    every, found = np.ones(len(calls.kinds), bool), {}
    for compiler, options in SANITIZE.items():
        if shutil.which(compiler):
            found[compiler] = compiled(calls, every, tmp_path_factory.mktemp(compiler), compiler, "-O0", *options)
    return found


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_report_without_a_trap(calls: Calls, reports: dict[str, npt.NDArray[np.int64]], compiler: str) -> None:
    if compiler not in reports:
        pytest.skip(f"{compiler} is not installed")
    for i, (value, status) in enumerate(reports[compiler]):
        if not calls.kinds[i]:
            assert status == RETURNED, f"{compiler} reports; {calls.of(i)}"
            assert value == calls.values[i], f"{compiler}: {value}; {calls.of(i)}"


def test_no_trap_without_a_report(calls: Calls, reports: dict[str, npt.NDArray[np.int64]]) -> None:
    """Of the kinds that sanitizers see. gcc alone misses a tenth: it folds ``(x * y) & 63`` before it looks."""
    if "clang" not in reports:
        pytest.skip("clang is not installed")
    reported = np.any([theirs[:, 1] != RETURNED for theirs in reports.values()], axis=0)
    for i, kind in enumerate(calls.kinds):
        if kind.startswith(SEEN) and "of a row of" not in kind:
            assert reported[i], f"no report; {calls.of(i)}"


@pytest.mark.parametrize("target", ["cortex-m0", "mips32"])
def test_values_on_an_emulated_machine(calls: Calls, target: str) -> None:
    """32-bit machines of either byte order; only values, where we find no trap."""
    pytest.importorskip("unicorn", reason="unicorn is not installed")
    pytest.importorskip("elftools", reason="pyelftools is not installed")
    if find("zig") is None:
        pytest.skip("zig is not installed")
    entry = "void all(const int32_t *x, int32_t *y) { *y = callers[x[0]](x + 1); }\n"
    x = np.column_stack([calls.which, calls.arguments])[calls.good].astype(np.int32)  # modulo 2^32, as C does there
    source = unit(calls, "int32_t") + "void all(const int32_t *x, int32_t *y);\n" + entry
    theirs = emulate.run(source, "all", x, 1, np.int32, target=target)[:, 0]
    for i, value in zip(np.flatnonzero(calls.good).tolist(), theirs, strict=True):
        assert value == calls.values[i].astype(np.int32), f"{target}: {value}; {calls.of(i)}"
