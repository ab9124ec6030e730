"""The command line: data on stdout, everything else on stderr.

Exit codes: 0 done, or every check passed; 1 a check failed (an invalid model, a golden mismatch, wrong C, a device
that differs); 2 the request could not be carried out, with ``error[code]`` and what to do about it; 3 the device under
test died; 4 C that is not in the subset that can be verified; 5 C that could be neither proved nor shown to be wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from intnn import bounds, engines, files, firmware, golden, profiles, quantizing, referee
from intnn.errors import InputError, IntnnError, ModelError, UsageError
from intnn.floats import meaning
from intnn.formats import native
from intnn.model import Q31, Fixed, HostRule, IntArray, Network
from intnn.version import SPEC_VERSION, __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (without the program's name) and return its exit code."""
    if sys.stdout is None:  # closed by whoever started the program
        print("error[file.write]: standard output: it is closed", file=sys.stderr)
        return 2
    arguments = _parser().parse_args(argv)
    try:
        code = int(arguments.command(arguments))
        sys.stdout.flush()
        return code
    except IntnnError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        sys.stderr.close()
        return 2
    except KeyboardInterrupt:
        return 130  # as shells say it
    except OSError as error:  # files have been dealt with: this is stdout
        print(f"error[file.write]: standard output: cannot be written: {error.strerror}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """argparse, with an error code."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        hint = (
            "\n  repair:   --option=-1,2 for a value that begins with a minus"
            if "expected one argument" in message
            else ""
        )
        self.exit(2, f"error[usage.option]: {message}{hint}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="intnn", description="The referee for a microcontroller's neural network.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"intnn {__version__}, specification {SPEC_VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    profile_help = "follow this profile's rounding: " + ", ".join(profiles.PROFILES)

    def command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(command=function)
        return sub

    sub = command("demo", _demo, "show what intnn does on bundled networks; needs no files")
    sub.add_argument(
        "what",
        nargs="?",
        default="pose",
        choices=("pose", "rounding"),
        help="pose: from sensors to proved firmware (the default); rounding: how engines differ on the same network",
    )

    sub = command("run", _run, "run a network on integer inputs, bit for bit")
    sub.add_argument(
        "what", metavar="MODEL", help="a model file, a TFLite file with --profile, or a C file with --model"
    )
    sub.add_argument("--model", metavar="MODEL", help="the network whose inputs and outputs the C file has")
    sub.add_argument("--function", metavar="NAME", help="the C function (default: the only one that is not static)")
    sub.add_argument(
        "--target",
        metavar="NAME",
        help="compile the C and run it: gcc, clang or zig on this machine, or "
        "emulated cortex-m0, rv32imc, ppc32, mips32, s390x, aarch64, x86-32 or wasm32",
    )
    sub.add_argument("-O", dest="optimize", default="2", metavar="LEVEL", help="with --target: 0, s, 1, 2 or 3")
    sub.add_argument("--input", required=True, metavar="X.npy", help="integers of shape (batch, inputs)")
    sub.add_argument("--output", metavar="Y.npy", help="where the outputs go; without it, as text on stdout")
    sub.add_argument("--trace", metavar="T.npz", help="also write each layer's accumulators and outputs")
    sub.add_argument("--engine", default="reference", choices=engines.ENGINES, help="all give the same result")
    sub.add_argument("--real", action="store_true", help="inputs and outputs are real values, by the network's scales")
    sub.add_argument("--profile", help=profile_help)

    sub = command("check", _check, "prove that no value leaves int32 and how many bits are to spare, or show a witness")
    sub.add_argument("model", help="a model file, or a TFLite file together with --profile")
    sub.add_argument("--profile", help=profile_help)
    sub.add_argument("--json", action="store_true", help="the proof as JSON, with every neuron's bounds")

    sub = command("import", _import, "turn a quantized TFLite or ONNX model of dense layers into a model file")
    sub.add_argument("model", help="a .tflite or .onnx file")
    sub.add_argument("--profile", help=f"{profile_help}; .onnx files follow onnxruntime's, fp32even, if not told")
    sub.add_argument("-o", "--output", metavar="MODEL.json", help="where the model file goes; without it, stdout")

    quantizing.add_commands(command, profile_help)
    firmware.add_commands(command, profile_help)
    referee.add_commands(command, profile_help)

    sub = command("golden", _golden, "check the golden vectors against this interpreter, or write them anew")
    action = sub.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compare every vector; write nothing")
    action.add_argument("--write", action="store_true", help="regenerate the files; needs a source checkout")
    sub.add_argument("--folder", type=Path, help="the golden folder (default: the one of the source checkout)")
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.what == "rounding":
        from intnn.demo.rounding import rounding

        print(rounding())
    else:
        from intnn.demo.story import story

        print(story())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    for output in (arguments.output, arguments.trace):
        files.require_other_file(output, arguments.what, arguments.input, *filter(None, [arguments.model]))
    path = arguments.model or arguments.what
    if not arguments.model and arguments.what.endswith(".c"):
        raise UsageError("usage.option", "C does not say which network it is", where=path, expected="--model MODEL")
    if arguments.target and not arguments.model:
        raise UsageError("usage.option", "--target is for C", where=path, expected="a C file and --model")
    if arguments.model and (arguments.trace or arguments.engine != "reference"):
        raise UsageError("usage.option", "--trace and --engine are for networks", expected="a C file and --model alone")
    net = files.read_model(path, arguments.profile)
    x = files.read_array(arguments.input)
    try:
        if arguments.real:
            if outside := meaning.clamped(net, x):
                print(f"note: {outside} of {x.size} values lie outside what the input holds: clamped", file=sys.stderr)
            x = meaning.encode(net, x)
        if arguments.model:
            y = firmware.run_c(arguments.what, net, x, arguments.function, arguments.target, arguments.optimize)
        else:
            y = engines.run(net, x, engine=arguments.engine)
        if arguments.trace:
            _write_trace(arguments.trace, net, x)
        shown: npt.NDArray[np.generic] = meaning.decode(net, y) if arguments.real else y
    except InputError as error:
        raise error.within(arguments.input) from None
    except ModelError as error:
        raise error.within(path) from None
    if arguments.output:
        files.write(arguments.output, lambda file: np.save(file, shown))
        print(f"{arguments.output}: {shown.dtype} {shown.shape}", file=sys.stderr)
    else:
        np.savetxt(sys.stdout, np.atleast_2d(shown), fmt="%.6g" if arguments.real else "%d")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    net = files.read_model(arguments.model, arguments.profile)
    proof = bounds.prove(net)
    if arguments.json:
        print(json.dumps(_proof_document(net, proof), indent=1))
    else:
        print(_proof_text(arguments.model, net, proof))
    if proof.overflow is not None:
        error = proof.overflow.error().within(arguments.model)
        print(f"error[{error.code}]: {error}", file=sys.stderr)
    return 0 if proof.valid else 1


def _import(arguments: argparse.Namespace) -> int:
    files.require_other_file(arguments.output, arguments.model)
    result = files.read_import(arguments.model, arguments.profile)
    if arguments.output:
        native.dump(result.network, arguments.output)
    else:
        sys.stdout.write(native.dumps(result.network).decode("ascii"))
    for line in result.report:
        print(line, file=sys.stderr)
    if arguments.output:
        print(f"{arguments.output}: sha256 {native.network_hash(result.network)}", file=sys.stderr)
    return 0


def _golden(arguments: argparse.Namespace) -> int:
    folder = arguments.folder or golden.default_folder()
    if arguments.write:
        print(golden.write(folder))
        return 0
    # Checking runs nothing that lies in the folder's neighbourhood, except in the source checkout itself.
    report = golden.check(folder, None if arguments.folder else golden.oracle_folder())
    for problem in report.problems:
        print(f"error[{problem.code}]: {problem}", file=sys.stderr)
    print(report.text)
    return 0 if report.passed else 1


def _proof_text(path: str, net: Network, proof: bounds.Proof) -> str:
    what = "value" if net.int32_only else "accumulator"
    verdict = f"valid: no {what} leaves int32, for any input in the declared range" if proof.valid else "NOT valid"
    if not net.int32_only:
        verdict += "; a foreign profile then rounds on the host, in floats or 64 bits"
    head = f"{path}: {verdict}\n  sha256 {native.network_hash(net)}\n"
    low, high = net.input.min, net.input.max
    head += f"  input  {net.sizes[0]} x {net.input.type}, zero point {net.input.zero_point}, range [{low}, {high}]\n"
    if not proof.layers:
        return head.rstrip()
    rows = [("layer", "size", "requantize", "accumulator", "any partial sum", "product", "output", "headroom")]
    for i, (layer, p) in enumerate(zip(net.layers, proof.layers, strict=False)):
        product = "" if p.product_low is None or p.product_high is None else _span(p.product_low, p.product_high)
        spans = (
            _span(p.acc_low, p.acc_high),
            _span(p.sum_low, p.sum_high),
            product,
            _span(p.output_low, p.output_high),
        )
        size = f"{layer.weights.shape[1]}-{layer.weights.shape[0]}"
        rows.append((str(i), size, _rule_name(layer.requantize), *spans, f"{p.headroom} bits"))
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    table = ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return head + "\n".join(line.rstrip() for line in table)


def _rule_name(rule: Fixed | Q31 | HostRule) -> str:
    match rule:
        case Fixed():
            return "fixed"
        case Q31():
            return f"q31 {rule.rounding}"
        case _:
            return f"{rule.profile} (host)"


def _span(low: Any, high: Any) -> str:
    return f"[{low.min()}, {high.max()}]"


def _proof_document(net: Network, proof: bounds.Proof) -> dict[str, Any]:
    document: dict[str, Any] = {
        "valid": proof.valid,
        "int32_only": net.int32_only,
        "sha256": native.network_hash(net),
        "layers": [{**_lists(layer), "headroom_bits": layer.headroom} for layer in proof.layers],
    }
    if proof.overflow is not None:
        document["overflow"] = _lists(proof.overflow)
    return document


def _lists(record: Any) -> dict[str, Any]:
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in vars(record).items()}


def _write_trace(path: str, net: Network, x: IntArray) -> None:
    parts = {}
    for i, layer in enumerate(engines.trace(net, x)):
        parts[f"acc{i}"], parts[f"output{i}"] = layer
    files.write(path, lambda file: np.savez(file, **parts))


if __name__ == "__main__":
    sys.exit(main())
