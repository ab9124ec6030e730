"""The pose networks: their data, their training, and the table of what each quantization costs.

    pip install 'intnn[train]'
    python docs/examples/pose.py data hall     # x.npy, y.npy, calib.npy, target.npy and float.npz, for the command line
    python docs/examples/pose.py train hall    # trains, quantizes, tunes; writes hall.npz and hall.json
    python docs/examples/pose.py show hall     # pose errors of the networks that come with intnn
    python docs/examples/pose.py table         # both sensors, five seeds, every scheme: half an hour; docs/pose.md

A sensor is ``hall`` or ``stewart`` (intnn/demo/pose.py has their physics). The networks take the six counts of the ADC
as they are and give the six coordinates as shares of their reach.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import intnn
from intnn.demo import pose
from intnn.floats.meaning import decode, encode
from intnn.floats.network import FloatNetwork
from intnn.formats.weights import read_weights, write_weights
from intnn.progress import progress

DOCS = Path(__file__).resolve().parents[1]
FIGURES = DOCS / "examples" / "pose-figures.json"
SIZES = "6-32-32-6"
SAMPLES, CALIBRATION, TEST = 200_000, 4_096, 50_000
COMMON = {"batch": 1024, "validation": 0.02, "every": 500}
FLOAT = {"steps": 60_000, "learning_rate": 1e-2, **COMMON}
TUNING = {"qat_steps": 6_000, "qat_learning_rate": 5e-3, "input_range": (0, pose.ADC_MAX), **COMMON}
SEEDS = 5
HELD_OUT = 1_000_000  # seeds from here on are never trained with


def data(task: str, seed: int = 0, count: int = SAMPLES) -> tuple[Any, Any]:
    """Counts (count, 6) and what the network is to say of them, shares of the reach (count, 6)."""
    counts, poses = pose.samples(task, count, seed)
    return counts, pose.targets(task, poses)


def train_float(task: str, seed: int, start: FloatNetwork | None = None, **options: Any) -> FloatNetwork:
    """A float network, new or trained on from ``start``."""
    from intnn import qat

    chosen: dict[str, Any] = {"seed": seed, **(FLOAT | options), **({"start": start} if start else {"sizes": SIZES})}
    with progress("compiling", f"{task} {seed} float") as tell:
        return qat.train_float(*data(task, seed), **chosen, progress=lambda p: tell(p.step, p.steps))


def tune(task: str, seed: int, floats: FloatNetwork, scheme: intnn.Scheme, **options: Any) -> intnn.Network:
    """``floats`` quantized and tuned as integers."""
    from intnn import qat

    chosen: dict[str, Any] = {"seed": seed, "start": floats, "scheme": scheme, **(TUNING | options)}
    with progress("compiling", f"{task} {seed} {scheme}") as tell:
        return qat.train(*data(task, seed), **chosen, progress=lambda p: tell(p.step, p.steps)).network


def quantize(task: str, floats: FloatNetwork, scheme: intnn.Scheme) -> intnn.Network:
    """``floats`` quantized after training; the input keeps the ADC's integers unless the scheme names a type for it."""
    counts = data(task, HELD_OUT + 1, CALIBRATION)[0]
    if scheme.input == "as activations":
        return intnn.quantize(floats, counts, scheme, input_range=(0, pose.ADC_MAX)).network
    return intnn.quantize(floats, counts.astype(np.float64), scheme).network


def pose_error(task: str, network: FloatNetwork | intnn.Network) -> pose.PoseError:
    """On poses that no network was trained with."""
    counts, poses = pose.samples(task, TEST, HELD_OUT)
    if isinstance(network, FloatNetwork):
        outputs = network.run(counts)
    else:
        outputs = decode(network, intnn.run(network, encode(network, counts), engine="fast"))
    return pose.pose_error(task, poses, pose.to_poses(task, outputs))


# --- The table -----------------------------------------------------------------------------------------------------

SCHEMES = {
    f"{activations}, {name}": intnn.Scheme(activations=activations, requantize=requantize)
    for activations in ("int8", "int16")
    for requantize, name in {"power-of-two": "power of two", "8-bit": "8-bit", "15-bit": "15-bit"}.items()
}
INPUT8 = {"int8, 8-bit, input int8 too": intnn.Scheme(input="int8")}


def measure(task: str, seed: int, cache: Path) -> dict[str, Any]:
    """The pose error of the float network, and the others' as ratios to it; ``cache`` keeps the networks."""

    def kept(name: str, make: Callable[[], FloatNetwork]) -> FloatNetwork:
        path = cache / f"{task}-{seed}-{name}.npz"
        if not path.exists():
            write_weights(make(), path)
        return read_weights(path).network

    def tuned(scheme: intnn.Scheme) -> intnn.Network:
        path = cache / f"{task}-{seed}-{scheme.activations}-{scheme.requantize}.json"
        if not path.exists():
            intnn.dump(tune(task, seed, floats, scheme), path)
        return intnn.load(path)

    floats = kept("float", lambda: train_float(task, seed))
    longer = {"steps": TUNING["qat_steps"], "learning_rate": TUNING["qat_learning_rate"]}
    networks: dict[str, FloatNetwork | intnn.Network] = {
        "QAT float": kept("longer", lambda: train_float(task, seed, floats, **longer)),
        **{f"PTQ {name}": quantize(task, floats, scheme) for name, scheme in {**SCHEMES, **INPUT8}.items()},
        **{f"QAT {name}": tuned(scheme) for name, scheme in SCHEMES.items()},
    }
    base = pose_error(task, floats)
    ratios = {name: pose_error(task, network).share / base.share for name, network in networks.items()}
    print(
        f"{task} seed {seed}:", *(f"{name} {ratio:.3f}" for name, ratio in ratios.items()), sep="\n  ", file=sys.stderr
    )
    return {"mm": base.mm, "mrad": base.mrad, "ratios": ratios}


def table(figures: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown; every cell is mean and standard deviation over the seeds."""

    def cell(values: list[float], digits: int = 3) -> str:
        return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}" if values else ""

    def ratio(seeds: list[dict[str, Any]], name: str) -> str:
        return cell([seed["ratios"][name] for seed in seeds if name in seed["ratios"]])

    columns = [(task, way) for task in figures for way in ("PTQ", "QAT")]
    rows = [["", *(f"{task} {way}" for task, way in columns)], ["---"] * (1 + len(columns))]
    for unit, digits in (("mm", 4), ("mrad", 2)):
        errors = {task: f"{cell([seed[unit] for seed in seeds], digits)} {unit}" for task, seeds in figures.items()}
        rows.append([f"float, {unit}", *(errors[task] if way == "PTQ" else "" for task, way in columns)])
    for name, text in {"float": "float, trained on", **dict.fromkeys(INPUT8, ""), **dict.fromkeys(SCHEMES, "")}.items():
        rows.append([text or name, *(ratio(figures[task], f"{way} {name}") for task, way in columns)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_table(cache: Path, seeds: int) -> None:
    """Measure, keep the figures, and put the table on its page."""
    figures = {task: [measure(task, seed, cache) for seed in range(seeds)] for task in pose.TASKS}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    page = DOCS / "pose.md"
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    page.write_text(f"{before}<!-- table -->\n{table(figures)}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")


# --- The commands --------------------------------------------------------------------------------------------------


def main() -> None:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")  # the same sums on any number of cores
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("data", "train", "show", "table"))
    parser.add_argument("task", nargs="?", default="hall", choices=[*pose.TASKS])
    parser.add_argument("--seed", type=int, default=0, help="with data and train (default: 0)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="where files go (default: here)"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("pose-cache"), metavar="DIR", help="keeps the table's networks"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="with table (default: 5)")
    given = parser.parse_args()
    task, folder = given.task, given.cache if given.command == "table" else given.output
    folder.mkdir(parents=True, exist_ok=True)
    if given.command == "data":
        x, y = data(task, given.seed)
        calib, target = data(task, HELD_OUT + 1, CALIBRATION)
        for name, array in {"x": x, "y": y, "calib": calib, "target": target}.items():
            np.save(folder / f"{name}.npy", array)
        write_weights(pose.float_network(task), folder / "float.npz")
    elif given.command == "train":
        floats = train_float(task, given.seed)
        write_weights(dataclasses.replace(floats, name=task), folder / f"{task}.npz")
        network = tune(task, given.seed, floats, intnn.Scheme())
        made = ", ".join(f"{name} {version(name)}" for name in ("intnn", "jax", "optax"))
        source = f"python docs/examples/pose.py train {task} --seed {given.seed}; {made}"
        intnn.dump(dataclasses.replace(network, name=task, source=source), folder / f"{task}.json")
    elif given.command == "table":
        write_table(folder, given.seeds)
    if given.command == "show":
        for kind, bundled in (("float", pose.float_network(task)), ("integer", pose.network(task))):
            error = pose_error(task, bundled)
            print(f"{task} {kind:7}  {error.mm:.4f} mm  {error.mrad:.2f} mrad")


if __name__ == "__main__":
    try:
        main()
    except intnn.IntnnError as error:
        sys.exit(str(error))
