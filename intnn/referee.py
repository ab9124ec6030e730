"""The commands that judge implementations: test one, explain a failure, write vectors, recognise an engine."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from intnn import bounds, engines, files
from intnn.errors import FileError, InputError, IntnnError, UsageError
from intnn.formats import native
from intnn.model import Network
from intnn.progress import progress

Add = Callable[[str, Any, str], argparse.ArgumentParser]

DEVICES = ("cmd", "lib", "c", "elf", "serial", "replay", "python")
"""The options that name a device under test."""


def add_commands(command: Add, profile_help: str) -> None:
    """Add ``conform``, ``explain``, ``vectors`` and ``identify`` to the command line."""
    sub = command("conform", _conform, "test an implementation of a network: find, shrink, locate and name its fault")
    sub.add_argument("model", help="a model file, or a TFLite file together with --profile")
    device = sub.add_argument_group("the device under test").add_mutually_exclusive_group(required=True)
    device.add_argument("--cmd", metavar="COMMAND", help="a program that speaks the protocol on stdin and stdout")
    device.add_argument(
        "--lib", metavar="FILE.so:FUNCTION", help="void FUNCTION(const T x[], T y[]) of a shared library"
    )
    device.add_argument(
        "--c", metavar="FILE.c", help="a C file: evaluated without a compiler if it can be, else compiled"
    )
    device.add_argument(
        "--elf", metavar="FILE.elf:FUNCTION", help="the same function in a firmware image, on an emulated Cortex-M0"
    )
    device.add_argument("--serial", metavar="PORT", help="a board that speaks the protocol on a serial port")
    device.add_argument("--replay", metavar="LOG", help="what a board said, recorded")
    device.add_argument("--python", metavar="MODULE:FUNCTION", help="a Python function")
    device.add_argument(
        "--harness", choices=("c", "rust"), help="no test: the source that makes your function a device, on stdout"
    )
    sub.add_argument("--function", metavar="NAME", help="with --c: the function (default: the only one not static)")
    sub.add_argument("--target", metavar="NAME", help="with --c: compile with gcc, clang or zig, or for cortex-m0")
    sub.add_argument("-O", dest="optimize", metavar="LEVEL", help="with --target: 0, s, 1, 2 or 3 (default: 2)")
    sub.add_argument("--baud", type=_positive, metavar="N", help="with --serial (default: 115200)")
    sub.add_argument("--timeout", type=_seconds, metavar="S", help="seconds to wait for an answer (default: 5)")
    sub.add_argument("--log", metavar="FILE", help="with --cmd or --serial: record all that is said, for --replay")
    sub.add_argument("--prefix", default="net", metavar="NAME", help="with --harness: calls NAME_run (default: net)")
    sub.add_argument("--count", type=_positive, default=4096, metavar="N", help="inputs to construct (default: 4096)")
    sub.add_argument("--seed", type=_natural, default=0, metavar="N", help="of the inputs' construction (default: 0)")
    sub.add_argument(
        "--x",
        action="append",
        metavar="V,V,...",
        help="--x=V,V,... asks this input alone; N*V is N times V; may be repeated",
    )
    sub.add_argument("--expect-failures", metavar="FILE", help="names of groups that may fail, one a line")
    sub.add_argument("-o", "--output", metavar="FILE.json", help="keep the result, for intnn explain")
    sub.add_argument("--junit", metavar="FILE.xml", help="write the result for a CI system")
    sub.add_argument("--html", metavar="FILE.html", help="write the result as one page")
    sub.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    sub.add_argument("--profile", help=profile_help)

    sub = command("explain", _explain, "show the arithmetic of a failure step by step")
    sub.add_argument("failure", metavar="FILE.json", help="what intnn conform -o wrote")

    sub = command("vectors", _vectors, "write inputs and right outputs, for boards that have no input or other tools")
    sub.add_argument("model", help="a model file, or a TFLite file together with --profile")
    sub.add_argument("--format", required=True, choices=("h", "csv", "json", "npz"), help="h: C that tests itself")
    sub.add_argument("-o", "--output", metavar="DIR", help="the folder that the files go to; without it, stdout")
    sub.add_argument("--count", type=_positive, default=64, metavar="N", help="how many (default: 64)")
    sub.add_argument("--seed", type=_natural, default=0, metavar="N", help="of their construction (default: 0)")
    sub.add_argument("--prefix", default="net", metavar="NAME", help="begins file names and C names (default: net)")
    sub.add_argument("--profile", help=profile_help)

    sub = command("identify", _identify, "which engine's rounding gives these recorded outputs")
    sub.add_argument("model", help="a model file that carries scales, or a TFLite file")
    sub.add_argument("--input", required=True, metavar="X.npy", help="integers of shape (batch, inputs)")
    sub.add_argument("--output", required=True, metavar="Y.npy", help="what the engine answered: (batch, outputs)")
    sub.add_argument("--json", action="store_true", help="the findings as JSON")


def _natural(text: str) -> int:
    value = _integer(text)
    if not 0 <= value < 1 << 31:
        raise argparse.ArgumentTypeError(f"{value} is not within [0, 2147483647]")
    return value


def _positive(text: str) -> int:
    value = _integer(text)
    if not 0 < value <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{value} is not within [1, 10000000]")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not within (0, 3600]")
    return value


def _conform(arguments: argparse.Namespace) -> int:
    from intnn.conform import campaign
    from intnn.conform.report import html, junit, text
    from intnn.conform.report import json as documents

    net = files.read_model(arguments.model, arguments.profile)
    outputs = [arguments.output, arguments.junit, arguments.html, arguments.log]
    for path in filter(None, outputs):  # before the campaign: its result should not be lost at the end
        files.require_other_file(path, arguments.model, *filter(None, [arguments.c, arguments.replay]))
        if not Path(path).parent.is_dir():
            raise FileError("file.write", "cannot be written: there is no such folder", where=path)
    if len({str(Path(path).absolute()) for path in filter(None, outputs)}) < len([*filter(None, outputs)]):
        raise UsageError("usage.option", "two results would go into one file", expected="a file for each")
    try:
        bounds.require_valid(net)
        if arguments.harness:
            from intnn.conform.harness import harness

            sys.stdout.write(harness(net, arguments.harness, arguments.prefix))
            return 0
        rows = None
        if arguments.x:
            rows, _ = engines.batch(net, np.array([_row(given, net) for given in arguments.x], np.int64))
        expected = _names(arguments.expect_failures) if arguments.expect_failures else ()
        with (
            _ended_by_signal(),
            _device(net, arguments) as device,
            progress("constructing inputs", "inferences") as tell,
        ):
            report = campaign.run(
                net,
                device,
                count=arguments.count,
                seed=arguments.seed,
                rows=None if rows is None else rows.astype(np.int64),
                model=arguments.model,
                command=partial(_again, arguments),
                expected_failures=expected,
                progress=tell,
            )
    except IntnnError as error:
        raise error.within(arguments.model) if error.code.startswith("model.") else error from None
    document = documents.document(report, net)
    for path, content in (
        (arguments.output, json.dumps(document, indent=1) + "\n" if arguments.output else ""),
        (arguments.junit, junit.xml(report) if arguments.junit else ""),
        (arguments.html, html.page(report) if arguments.html else ""),
    ):
        if path:
            files.write(path, partial(_put, content))
    if arguments.json:
        print(json.dumps(document, indent=1))
    else:
        text.show(report)
        if arguments.output and report.mismatch:
            print(f"  step by step: intnn explain {shlex.quote(arguments.output)}")
        if report.outcome == "pass" and report.facts.get("compiler", "").startswith("none"):  # in the verifier's subset
            words = ["intnn", "verify", arguments.c, "--model", arguments.model]
            words += [f"--function={arguments.function}"] if arguments.function else []
            words += [f"--profile={arguments.profile}"] if arguments.profile else []
            print(f"  prove it for every input: {shlex.join(words)}")
    return report.exit_code


def _put(content: str, file: BinaryIO) -> None:
    file.write(content.encode("utf-8"))


def _device(net: Network, arguments: argparse.Namespace) -> Any:
    """The device under test that the options name. Raises :class:`UsageError` for options that it does not have."""
    kind = next(name for name in DEVICES if getattr(arguments, name) is not None)
    spec = getattr(arguments, kind)
    belongs = {
        "function": ("c",),
        "target": ("c",),
        "optimize": ("c",),
        "baud": ("serial",),
        "timeout": ("cmd", "serial", "lib", "python", "c"),
        "log": ("cmd", "serial"),
    }
    for option, kinds in belongs.items():
        if getattr(arguments, option) is not None and kind not in kinds:
            name = "-O" if option == "optimize" else f"--{option}"
            where = " or ".join(f"--{other}" for other in kinds)
            raise UsageError("usage.option", f"{name} says nothing about --{kind}", expected=f"{name} with {where}")
    if arguments.optimize is not None and arguments.target is None:
        raise UsageError("usage.option", "-O says nothing without --target", expected="-O with --target")
    wait = {} if arguments.timeout is None else {"timeout": arguments.timeout}
    match kind:
        case "cmd" | "serial":
            from intnn.conform import pipe

            if kind == "cmd":
                return pipe.command(net, spec, log=arguments.log, **wait)
            return pipe.serial(net, spec, baud=arguments.baud or 115200, log=arguments.log, **wait)
        case "lib" | "python":
            from intnn.conform import process

            return (process.library if kind == "lib" else process.python)(net, spec, **wait)
        case "c":
            from intnn.conform import source

            return source.c_source(
                net, spec, arguments.function, target=arguments.target, optimize=arguments.optimize or "2", **wait
            )
        case "elf":
            from intnn.conform import elf

            return elf.elf(net, spec)
        case _:
            from intnn.conform import replay

            return replay.replay(net, spec)


def _row(text: str, net: Network) -> list[int]:
    """The integers of ``V,V,...`` where ``N*V`` or ``V x N`` stands for N times V; brackets may be around them."""
    row: list[int] = []
    for item in text.strip().removeprefix("[").removesuffix("]").split(","):
        found = re.fullmatch(r"(?:(\d{1,7})\*)?(-?\d{1,9})(?: x (\d{1,7}))?", item.strip())
        if not found:
            raise UsageError("usage.option", f"--x: {item.strip()[:40]!r} is not an integer", expected="--x=1,-2,3*0")
        row += [int(found[2])] * int(found[1] or found[3] or 1)
    if len(row) != net.sizes[0]:
        raise InputError("input.shape", f"--x: {len(row)} values", expected=f"{net.sizes[0]}, one for each input")
    return row


def row_text(row: tuple[int, ...]) -> str:
    """A row as ``--x`` takes it."""
    runs: list[list[int]] = []
    for v in row:
        if runs and runs[-1][1] == v:
            runs[-1][0] += 1
        else:
            runs.append([1, v])
    return ",".join(f"{n}*{v}" if n > 2 else ",".join([str(v)] * n) for n, v in runs)


def _again(arguments: argparse.Namespace, x: tuple[int, ...] | None) -> str:
    """The command line that repeats a campaign, or that asks the input ``x`` alone."""
    words = ["intnn", "conform", arguments.model]
    for name in ("profile", *DEVICES, "function", "target", "baud", "timeout", "expect_failures"):
        value = getattr(arguments, name)
        if value is not None:
            given = [f"--{name.replace('_', '-')}", str(value)]
            words += ["=".join(given)] if given[1].startswith("-") else given
    if arguments.optimize:
        words.append(f"-O{arguments.optimize}")
    if x is not None and arguments.replay is None:
        return shlex.join([*words, f"--x={row_text(x)}"])
    for given in arguments.x or ():
        words.append(f"--x={given}")
    if arguments.replay is not None or arguments.x:
        return shlex.join(words)
    return shlex.join([*words, "--count", str(arguments.count), "--seed", str(arguments.seed)])


def _names(path: str) -> tuple[str, ...]:
    """The lines of a file, without comments (#) and blanks."""
    try:
        lines = native.read_bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise FileError(
            "file.syntax", "not UTF-8 text", where=path, expected="a name of a group on each line"
        ) from None
    return tuple(name for line in lines if (name := line.partition("#")[0].strip()))


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM, with which CI systems end what takes too long, leaves no process and no folder behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _explain(arguments: argparse.Namespace) -> int:
    from intnn.conform.explain import explain
    from intnn.conform.report import json as documents

    data = native.read_bytes(arguments.failure)
    try:
        document = native.parse(data)
        report = documents.load(document)
        net = native.loads(json.dumps(document.get("network")), where="network")
    except IntnnError as error:
        raise error.within(arguments.failure) from None
    print(explain(net, report))
    return 0


def _vectors(arguments: argparse.Namespace) -> int:
    from intnn.conform import construct, vectors

    net = files.read_model(arguments.model, arguments.profile)
    try:
        bounds.require_valid(net)
        rows = construct.plan(net, arguments.count, arguments.seed).x
        written = vectors.vectors(net, rows, arguments.format, arguments.prefix)
    except IntnnError as error:
        raise error.within(arguments.model) if error.code.startswith("model.") else error from None
    if arguments.output is None:
        if arguments.format == "npz":
            raise UsageError("usage.option", "npz is binary", expected="-o with a folder")
        for content in written.values():
            sys.stdout.write(content.decode("utf-8"))
        return 0
    folder = files.folder(arguments.output)
    for name, content in written.items():
        path = str(folder / name)
        files.require_other_file(path, arguments.model)
        files.write(path, lambda file, content=content: file.write(content))
        print(f"{path}: {len(content)} bytes", file=sys.stderr)
    return 0


def _identify(arguments: argparse.Namespace) -> int:
    from intnn.conform.identify import identify

    x, y = files.read_array(arguments.input), files.read_array(arguments.output)
    found = identify(arguments.model, x, y)
    print(json.dumps(found.document(), indent=1) if arguments.json else found.text())
    return 0 if found.fitting else 1
