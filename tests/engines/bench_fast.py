"""The fast engine beside LiteRT: the same rows, the same answers, in the same run.

    python tests/engines/bench_fast.py MODEL.tflite

prints a table of medians for 1000 rows of int8 inputs, LiteRT being given all rows at once (its fastest way) and, for
comparison, row by row; then the same with one BLAS thread, in a process of its own; then what `import intnn` takes.
Needs ai-edge-litert. Before anything is timed the outputs must be equal: `upup` to LiteRT without delegate, `fp32even`
to LiteRT's default, which is XNNPACK.

The contenders take turns, round after round. Idle threads of one library keep spinning for some milliseconds and
would slow the next, so each turn begins with a pause and unmeasured calls; then a few calls in a row are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import intnn

Array = NDArray[Any]

ROWS = 1000
ROUNDS = 15
WARM_UP = 2  # rounds
UNMEASURED, MEASURED = 2, 3  # calls a turn
PAUSE = 0.05  # seconds; OpenBLAS's threads sleep after about half of it
IMPORTS = 10

PAIRS = {  # LiteRT's mode: the profile that reproduces it, and the most that the ratio of times may be
    "no_delegate": ("upup", 1.0),
    "XNNPACK": ("fp32even", 4.0),
}
IMPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds: ``milliseconds`` of each contender, and of each mode ``ratios`` intnn / LiteRT."""

    milliseconds: dict[str, float]
    ratios: dict[str, float]


def measure(model: Path, rounds: int = ROUNDS) -> Timing:
    """All contenders on the same random rows; raises ``ValueError`` where intnn and LiteRT disagree."""
    net = intnn.import_tflite(model, profile="upup")
    x = np.random.default_rng(0).integers(-128, 128, (ROWS, net.sizes[0]), dtype=np.int8)
    contenders: dict[str, Callable[[], Array]] = {}
    for mode, (profile, _) in PAIRS.items():
        contenders[f"intnn {profile}"] = _intnn(model, profile, x)
        for threads in (None, 1, 2):
            contenders[_litert_name(mode, threads)] = _litert(model, mode, threads, x)
        contenders[f"LiteRT {mode} row by row"] = _litert(model, mode, None, x, by_row=True)
        expected = contenders[_litert_name(mode, None)]()
        for name in (f"intnn {profile}", f"LiteRT {mode} row by row"):
            differences = int((contenders[name]() != expected).sum())
            if differences:
                raise ValueError(f"{name} and LiteRT {mode} differ in {differences} of {expected.size} outputs")

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(WARM_UP + rounds):
        for name, call in contenders.items():
            time.sleep(PAUSE)
            for _ in range(UNMEASURED):
                call()
            start = time.perf_counter()
            for _ in range(MEASURED):
                call()
            seconds[name].append((time.perf_counter() - start) / MEASURED)
    counted = {name: all_rounds[WARM_UP:] for name, all_rounds in seconds.items()}
    ratios = {
        mode: median(a / b for a, b in zip(counted[f"intnn {profile}"], counted[_litert_name(mode, None)], strict=True))
        for mode, (profile, _) in PAIRS.items()
    }
    return Timing({name: 1000 * median(rounds) for name, rounds in counted.items()}, ratios)


def measure_one_blas_thread(model: Path, rounds: int = ROUNDS) -> Timing:
    """:func:`measure` in a process of its own, for OpenBLAS counts its threads when it is loaded."""
    command = [sys.executable, __file__, str(model), "--json", "--rounds", str(rounds)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Timing(**json.loads(done.stdout))


def measure_import(code: str = "import intnn", times: int = IMPORTS) -> float:
    """Median seconds of new interpreters that run ``code``, their own start included."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="intnn's fast engine beside LiteRT, bit-identical and interleaved")
    parser.add_argument("model", type=Path, help="a .tflite file of dense layers on int8 activations")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="this process's timing only, as JSON")
    arguments = parser.parse_args(argv)
    timing = measure(arguments.model, arguments.rounds)
    if arguments.json:
        print(json.dumps(asdict(timing)))
        return 0
    single = measure_one_blas_thread(arguments.model, arguments.rounds)
    started, imported = measure_import("pass"), measure_import()

    print(f"{arguments.model.name}, {ROWS} rows, medians of {arguments.rounds} interleaved rounds; outputs identical")
    print(f"numpy {np.__version__}, ai-edge-litert {version('ai-edge-litert')}, {os.cpu_count()} CPUs\n")
    print(f"{'milliseconds':<34}{'BLAS default':>14}{'1 BLAS thread':>15}")
    for name in timing.milliseconds:
        print(f"{name:<34}{timing.milliseconds[name]:>14.2f}{single.milliseconds[name]:>15.2f}")
    print("\nratio")
    for mode, (profile, limit) in PAIRS.items():
        name = f"intnn {profile} / {mode} default"
        print(f"{name:<34}{timing.ratios[mode]:>14.2f}{single.ratios[mode]:>15.2f}   target <= {limit}")
    print(f"\nimport intnn {imported:.3f} s (python itself {started:.3f} s)   target < {IMPORT_SECONDS} s")
    met = all(timing.ratios[mode] <= limit for mode, (_, limit) in PAIRS.items()) and imported < IMPORT_SECONDS
    return 0 if met else 1


def _intnn(model: Path, profile: str, x: Array) -> Callable[[], Array]:
    net = intnn.import_tflite(model, profile=profile)
    return lambda: intnn.run(net, x, engine="fast")


def _litert_name(mode: str, threads: int | None) -> str:
    return f"LiteRT {mode} " + ("default" if threads is None else f"{threads} thread" + "s" * (threads > 1))


def _litert(model: Path, mode: str, threads: int | None, x: Array, by_row: bool = False) -> Callable[[], Array]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    resolver = plain if mode == "no_delegate" else OpResolverType.AUTO
    interpreter = Interpreter(str(model), num_threads=threads, experimental_op_resolver_type=resolver)
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    if not by_row:
        interpreter.resize_tensor_input(source, x.shape)
    interpreter.allocate_tensors()

    def run(rows: Array) -> Array:
        interpreter.set_tensor(source, rows)
        interpreter.invoke()
        y: Array = interpreter.get_tensor(target)
        return y

    if by_row:
        return lambda: np.concatenate([run(x[i : i + 1]) for i in range(len(x))])
    return lambda: run(x)


if __name__ == "__main__":
    sys.exit(main())
