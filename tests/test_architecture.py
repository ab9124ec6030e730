"""The shape of the code: three operators in the core, imports downwards, codes and clauses in order."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from intnn.errors import CODES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "intnn"
CORE = ("arithmetic", "interpreter")  # the modules through which data flows

# Each room may import from rooms on lines above its own.
ROOMS = [
    {"version", "errors", "progress"},
    {"arithmetic"},
    {"checked", "model"},
    {"interpreter", "foreign"},
    {"bounds", "profiles"},
    {"fast"},
    {"engines"},
    {"floats.network", "floats.scheme"},
    {"formats.native", "formats.flatbuffer", "formats.report"},
    {"formats.steps"},
    {"formats.chain", "formats.npz", "formats.safetensors"},
    {"formats.tensors"},
    {"formats.frameworks"},
    {"formats.onnx_file"},
    {"formats.onnx_walk"},
    {"formats.script"},
    {"formats.tflite", "formats.weights"},
    {"formats.onnx_float", "formats.onnx_scales"},
    {"formats.onnx_integers"},
    {"formats.onnx"},
    {"floats.meaning", "floats.calibrate", "floats.text"},
    {"floats.numbers", "floats.rounding"},
    {"floats.quantize"},
    {"floats.attribution"},
    {"targets.extra"},
    {"targets.compilers", "targets.elf", "targets.emulator"},
    {"targets.cortex_m0"},
    {"targets.cost", "targets.emulate", "targets.host"},
    {"emit.text"},
    {"emit.plan"},
    {"emit.family", "emit.header"},
    {"emit.requantize", "emit.selftest"},
    {"emit.kernels"},
    {"emit.unit"},
    {"emit"},
    {"ccheck.cmodel", "ccheck.forms"},
    {"ccheck.source", "ccheck.curves"},
    {"ccheck.values"},
    {"ccheck.lanes", "ccheck.symbols", "ccheck.scope"},
    {"ccheck.closures", "ccheck.specification"},
    {"ccheck.expressions"},
    {"ccheck.declarations"},
    {"ccheck.statements"},
    {"ccheck.compiler"},
    {"ccheck.batch"},
    {"ccheck.verify"},
    {"ccheck.report"},
    {"conform.device", "conform.worker", "conform.protocol"},
    {"conform.expected", "conform.replies", "conform.wire", "conform.harness_c", "conform.harness_rust"},
    {"conform.reference", "conform.pipe", "conform.replay", "conform.harness"},
    {"operations", "golden_models", "files"},
    {"firmware"},
    {"conform.verdict", "conform.beats"},
    {"conform.report.words", "conform.report.style", "conform.derivation"},
    {"conform.report.figures"},
    {"conform.report.text", "conform.report.json", "conform.report.junit", "conform.report.html", "conform.vectors"},
    {"conform.fault_changes"},
    {"conform.fault_models"},
    {"conform.faults"},
    {"conform.explain"},
    {"conform.steps", "conform.pairs"},
    {"conform.separate", "conform.reach", "conform.shrink"},
    {"conform.search"},
    {"conform.construct"},
    {"strategies"},
    {"conform.diagnose", "conform.identification"},
    {"conform.identify"},
    {"conform.frame", "conform.child"},
    {"conform.process"},
    {"conform.elf"},
    {"conform.source"},
    {"conform.locate"},
    {"conform.campaign"},
    {"referee", "testing"},
    {"floats.auto"},
    {"pictures.marks", "pictures.style", "pictures.evidence"},
    {"pictures.accuracy", "pictures.layers", "pictures.memory", "pictures.pareto", "pictures.sweeps"},
    {"qat.options", "qat.data", "qat.state"},
    {"qat.units", "qat.phase"},
    {"qat.floating", "qat.twin"},
    {"qat.tuning"},
    {"demo.pose", "qat", "pictures"},
    {"quantizing"},
    {"demo.story", "demo.rounding"},
    {"golden_protocol"},
    {"golden_cases"},
    {"golden"},
    {"__main__", "__init__"},
]


def by_name(test: ast.expr) -> bool:
    """Whether a branch depends on a name such as ``rounding == "single"``, not on data."""
    match test:
        case ast.Compare(ops=[ast.Eq()], comparators=[ast.Constant(value=str())]):
            return True
    return False


CALLS = {"zip", "range", "LayerTrace"}  # what the core may call beside its own functions
METHODS = {"astype"}  # ... and as methods of arrays


def forbidden_operators(source: str) -> list[str]:
    """What acts on data other than by ``*``, ``+`` and ``>>``; annotations and choices by name aside."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.AST):
                skipped.update(ast.walk(part))
        if isinstance(node, ast.IfExp | ast.If) and by_name(node.test):
            skipped.update({node, *ast.walk(node.test)})
    found = []
    for node in ast.walk(tree):
        match node:
            case _ if node in skipped:
                continue
            case ast.BinOp(op=ast.Mult() | ast.Add() | ast.RShift()) | ast.UnaryOp(ast.USub(), ast.Constant(int())):
                continue
            case ast.BinOp() | ast.UnaryOp() | ast.Compare() | ast.BoolOp() | ast.AugAssign() | ast.IfExp():
                pass
            case ast.If() | ast.While() | ast.Constant(value=float()) | ast.NamedExpr():
                pass
            case ast.Call(func=ast.Name(id=name)) if name not in CALLS | own:
                pass
            case ast.Call(func=ast.Attribute(attr=name, value=value)):
                host = isinstance(value, ast.Name) and value.id in ("arithmetic", "host")
                if host or name in METHODS:
                    continue
            case _:
                continue
        found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("module", CORE)
def test_the_core_uses_three_operators(module: str) -> None:
    assert forbidden_operators((PACKAGE / f"{module}.py").read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "x - y",
        " x << 1",
        " x & 1",
        " x // 2",
        " x / 2",
        " -x",
        " ~x",
        " x < 0",
        " abs(x)",
        " max(x, y)",
        " np.clip(x, 0, 1)",
        " x @ y",
        " x * 0.5",
        "\n    1 if x else 0",
        " x.clip(0, 1)",
        " operator.sub(x, y)",
        " x.__and__(1)",
        " np.linalg.norm(x)",
        " x and y",
        " not x",
        " f(x)(y).g(1)",
        "\n    numpy.minimum(x, y)",
        " (z := x)",
    ],
)
def test_that_test_can_fail(line: str) -> None:
    assert forbidden_operators(f"def f(x: int | None, y: int) -> int:\n    return {line.strip()}\n")


@pytest.mark.parametrize("line", ["x -= 1", "if x: return 1", "while x: x = x + -1"])
def test_nor_by_statement(line: str) -> None:
    assert forbidden_operators(f"def f(x):\n    {line}\n    return x\n")


@cache
def modules() -> dict[str, ast.Module]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        names[name] = ast.parse(path.read_text())
    return names


def test_imports_point_downwards() -> None:
    level = {name: i for i, room in enumerate(ROOMS) for name in room}
    for name, tree in modules().items():
        if name in ("ccheck", "conform", "conform.report", "demo", "floats", "formats", "targets"):
            assert not tree.body
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "intnn":
                inner = (node.module or "").partition(".")[2]
                for alias in node.names:
                    joined = ".".join(p for p in (inner, alias.name) if p)
                    target = joined if joined in level else inner
                    assert level[target] < level[name], f"{name} imports {target}"
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{name}: relative import"


def test_the_verifier_shares_no_arithmetic() -> None:
    """It knows the network as data, and neither the interpreter nor the emitter."""
    for name, tree in modules().items():
        if name.startswith("ccheck"):
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("intnn"):
                    assert re.fullmatch(r"intnn\.(ccheck(\..+)?|model|errors|version)", node.module or ""), name


def test_every_error_code_is_used_and_documented() -> None:
    source = "".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "errors.py")
    assert [code for code in CODES if f'"{code}"' not in source] == []
    rows = re.findall(r"^\| `([a-z0-9.-]+)` \| (.+) \|$", (ROOT / "docs" / "errors.md").read_text(), re.M)
    assert dict(rows) == CODES


def test_import_is_light() -> None:
    """Optional and test-time packages are not imported until they are needed."""
    code = "import sys, intnn; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "flatbuffers",
        "tflite",
        "jsonschema",
        "hypothesis",
        "pytest",
        "pycparser",
        "intnn.ccheck.verify",
        "intnn.emit",
        "unicorn",
        "elftools",
        "wasmtime",
        "argparse",
        "intnn.fast",
        "intnn.formats.tflite",
    }
    assert heavy.isdisjoint(loaded)
    assert "numpy" in loaded


def test_top_level_is_fixed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    allowed = {"pyproject.toml", "intnn", "spec", "tests", "golden", "docs", "README.md", "LICENSE"}
    assert {name for name in top if not name.startswith(".")} <= allowed
