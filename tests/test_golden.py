"""The golden vectors, and tests of what they are made with: oracle, mutants, and the checking itself."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import mutants
import numpy as np
import oracle
import pytest

import intnn
from intnn import golden, golden_cases, golden_models
from intnn.errors import IntnnError
from intnn.operations import LEVELS, OPERATIONS, execute

ROOT = Path(__file__).parents[1]
FOLDER, TESTS = ROOT / "golden", ROOT / "tests"
MANIFEST: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text())
FILES: dict[str, Any] = {
    entry["clause"]: json.loads((FOLDER / f"{entry['clause']}.json").read_text()) for entry in MANIFEST["files"]
}


def schema(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((ROOT / "spec" / "schema" / f"{name}.schema.json").read_text()))


# --- the folder


def test_every_case_passes_and_every_byte_is_reproduced() -> None:
    report = golden.check(FOLDER, TESTS)
    assert report.passed, "\n".join(map(str, report.problems))
    assert "oracle: all pass" in report.text
    assert report.cases == sum(len(file["cases"]) for file in FILES.values())


def test_files_follow_their_schemas() -> None:
    schema("manifest").validate(MANIFEST)
    validator = schema("golden")
    for file in FILES.values():
        validator.validate(file)


def test_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


def test_every_operation_has_a_file() -> None:
    assert set(FILES) == set(OPERATIONS) == set(golden_cases.CASES)


# --- independence


@pytest.mark.parametrize("name", ["oracle", "mutants"])
def test_the_other_side_shares_nothing(name: str) -> None:
    tree = ast.parse((ROOT / "tests" / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - {"oracle"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("clause", sorted(OPERATIONS))
def test_interpreter_and_oracle_give_the_same_code(clause: str) -> None:
    """The files say only `contract`; here the two sides must agree on which kind."""
    for _, args in golden_cases.cases(clause):
        expected = oracle.outcome(clause, args)
        if "error" in expected:
            with pytest.raises(IntnnError) as raised:
                execute(clause, args)
            assert raised.value.code == expected["error"], args


# --- faults


@pytest.mark.parametrize("clause", sorted(mutants.MUTANTS))
def test_every_fault_is_exposed(clause: str) -> None:
    exposed = {flag for case in FILES[clause]["cases"] for flag in case["flags"]}
    assert exposed == set(mutants.MUTANTS[clause])


@pytest.mark.parametrize("rule", ["requantize.single", "requantize.double", "requantize.upup"])
def test_the_separating_table_separates(rule: str) -> None:
    """The roundings that look alike differ on some row of the table."""
    rows = [case for case in FILES[rule]["cases"] if case["group"] == "separating table"]
    assert len(rows) == len(golden_cases.TABLE) == 11
    exposed = {flag for case in rows for flag in case["flags"]}
    others = {"single", "double", "upup"} - {rule.partition(".")[2]}
    assert exposed >= others | {"floor", "toward-zero", "half-away", "half-even", "float32"}


def test_the_separating_table_as_published() -> None:
    """Row by row: floor, toward zero, single, double, upup, f64away, fp32even; from sources, not from this code."""
    rows = [
        (0, 0, 0, 1, 1, 0, 0),
        (0, 0, 1, 1, 1, 1, 0),
        (-1, 0, 0, 0, 0, -1, 0),
        (-2, -1, -1, -1, -1, -2, -2),
        (-1, 0, -1, -1, 0, -1, -1),
        (-2, -1, -1, -2, -1, -2, -2),
        (-2, -1, -2, -2, -1, -2, -2),
        (11, 11, 11, 12, 12, 11, 11),
        (-2588, -2587, -2588, -2588, -2587, -2588, -2588),
        (-1409, -1408, -1408, -1409, -1408, -1408, -1408),
        (1, 1, 1, 2, 2, 1, 2),
    ]
    for (acc, m, e), expected in zip(golden_cases.TABLE, rows, strict=True):
        exact = Fraction(acc * m, 2 ** (31 - e))
        scales = {"input": golden_cases.float32(m * 2.0 ** (e - 31)), "weights": "0x1p+0", "output": "0x1p+0"}
        q31 = {"acc": acc, "multiplier": m, "exponent": e}
        found = (
            oracle.floor(exact),
            oracle.toward_zero(exact),
            *(execute(f"requantize.{name}", q31) for name in ("single", "double", "upup")),
            *(execute(f"foreign.{name}", {"acc": acc, **scales}) for name in ("f64away", "fp32even")),
        )
        assert found == expected


def test_the_case_of_the_issue() -> None:
    """TensorFlow issue 102943: accumulator 585, zero point -126; float32 gives 6, every integer rule 7."""
    scales = dict(zip(("input", "weights", "output"), golden_cases.ISSUE, strict=True))
    real = execute("foreign.real-multiplier", {**scales, "float32_product": True})
    multiplier, exponent = execute("foreign.quantize-multiplier", {"real": real})
    assert (multiplier, exponent) == (1945583513, -2)
    assert execute("foreign.fp32even", {"acc": 585, **scales}) - 126 == 6
    for name in ("single", "double", "upup"):
        args = {"acc": 585, "multiplier": multiplier, "exponent": exponent}
        assert execute(f"requantize.{name}", args) - 126 == 7


# --- the oracle against definitions


@pytest.mark.parametrize("bias", [0, 5, -5])
def test_partial_sums_are_those_of_every_order(bias: int) -> None:
    terms = [3, -7, 4, -1]
    sums = {sum(part) for n in range(6) for part in itertools.combinations([bias, *terms], n)}
    assert oracle.Oracle().partial_sums(bias, terms) == [min(sums), max(sums)]


@pytest.mark.parametrize(("kind", "dtype"), [(oracle.FLOAT32, np.float32), (oracle.FLOAT64, np.float64)])
def test_emulated_floats(kind: tuple[int, int], dtype: type) -> None:
    """Products and quotients of awkward values, subnormal ones included, as the hardware rounds them."""
    values = [dtype(v) for v in (1 / 3, 0.1, 1.5, 16777217, 3e-20, 7e-25, 1e-30, 123456789.123)]
    for a, b in itertools.product(values, values):
        with np.errstate(under="ignore"):
            pairs = ((Fraction(float(a)) * Fraction(float(b)), a * b), (Fraction(float(a)) / Fraction(float(b)), a / b))
        for exact, rounded in pairs:
            assert float(oracle.to_float(exact, kind)) == float(rounded)


@pytest.mark.parametrize("group", golden_models.networks())
def test_all_engines_agree_on_the_networks(group: str) -> None:
    cases = [case for case in FILES["network.run"]["cases"] if case["group"] == group]
    net = intnn.loads(json.dumps(cases[0]["args"]["model"]))
    x = np.array([case["args"]["x"] for case in cases])
    expected = np.array([case["expected"]["y"][-1] for case in cases])
    for engine in intnn.engines.ENGINES:
        assert np.array_equal(intnn.run(net, x, engine=engine), expected), engine


def test_levels_grow() -> None:
    assert set(LEVELS["requantize"]) < set(LEVELS["layer"]) < set(LEVELS["network"]) < set(FILES)


def test_execute_refuses_what_is_no_operation() -> None:
    for op, args in (("shift.nearest", {}), ("shift.floor", {"x": 1}), ("shift.floor", {"x": 1, "s": 1, "t": 1})):
        with pytest.raises(IntnnError) as raised:
            execute(op, args)
        assert raised.value.code == "usage.option"


# --- checking and writing


@pytest.fixture(scope="module")
def _small() -> dict[str, Any]:
    return {"arithmetic.add": OPERATIONS["arithmetic.add"], "conform.levels": OPERATIONS["conform.levels"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _small: dict[str, Any]) -> Path:
    """A golden folder of two clauses, from the oracle of this checkout."""
    monkeypatch.setattr(golden, "OPERATIONS", _small)
    (tmp_path / "golden").mkdir()
    golden.write(tmp_path / "golden")
    return tmp_path / "golden"


def test_writing_is_reproducible(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert golden.write(folder).endswith("0 changed")
    for path in folder.iterdir():
        path.unlink()
    golden.write(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert golden.check(folder, TESTS).passed


def test_ids_are_permanent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ids() -> dict[str, str]:
        cases = json.loads((folder / "arithmetic.add.json").read_text())["cases"]
        return {json.dumps(case["args"]): case["id"] for case in cases}

    before, known = ids(), golden_cases.CASES["arithmetic.add"]
    lines = (folder / "arithmetic.add.json").read_bytes().splitlines()

    monkeypatch.setitem(golden_cases.CASES, "arithmetic.add", lambda: iter([("new", {"x": 4, "y": 4}), *known()]))
    golden.write(folder)
    assert ids() == {**before, '{"x": 4, "y": 4}': f"arithmetic.add/{len(before) + 1}"}
    assert sorted(ids().values(), key=lambda id: int(id.partition("/")[2])) == list(ids().values())
    assert len(set(lines) - set((folder / "arithmetic.add.json").read_bytes().splitlines())) == 2  # header, last comma

    monkeypatch.setitem(golden_cases.CASES, "arithmetic.add", known)
    golden.write(folder)  # the new case goes, and with it its number
    assert ids() == before
    monkeypatch.setitem(golden_cases.CASES, "arithmetic.add", lambda: iter([*known(), ("new", {"x": 5, "y": 5})]))
    golden.write(folder)
    assert ids()['{"x": 5, "y": 5}'] == f"arithmetic.add/{len(before) + 2}"


def edited(name: str, change: Callable[[Any], Any], *, hashed: bool = True) -> Callable[[Path], None]:
    """An edit of a file of the folder, the manifest's hash following it if ``hashed``."""

    def edit(folder: Path) -> None:
        path = folder / name
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))
        if hashed and name != "manifest.json":
            manifest = json.loads((folder / "manifest.json").read_text())
            entry = next(e for e in manifest["files"] if e["clause"] == name.removesuffix(".json"))
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


ADD = "arithmetic.add.json"
DAMAGE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "wrong value": (
        'arithmetic.add/1: got "error contract.int32", spec says 7; x=-2147483648 y=-2147483648',
        edited(ADD, lambda d: d["cases"][0].update(expected=7) or d["cases"][0].pop("error")),
    ),
    "wrong error": (
        'spec says "error model.value"',
        edited(ADD, lambda d: d["cases"][0].update(error="model.value")),
    ),
    "error for a value": (
        'arithmetic.add/4: got -2147483648, spec says "error contract"',
        edited(ADD, lambda d: d["cases"][3].update(error="contract") or d["cases"][3].pop("expected")),
    ),
    "hash": ("not the content whose hash", edited(ADD, lambda d: d["cases"].pop(), hashed=False)),
    "count": ("number of cases or flags", edited(ADD, lambda d: d["cases"].pop())),
    "flags": ("number of cases or flags", edited(ADD, lambda d: d["cases"][0].update(flags=["other"]))),
    "member missing": ("an object with other members", edited(ADD, lambda d: d["cases"][0].pop("group"))),
    "member of another kind": ("member args is of another kind", edited(ADD, lambda d: d["cases"][0].update(args=[]))),
    "wrong id": ("id arithmetic.max/1", edited(ADD, lambda d: d["cases"][0].update(id="arithmetic.max/1"))),
    "number too large": ("a number below 5", edited(ADD, lambda d: d.update(next=5))),
    "id twice": ("an id that stands twice", edited(ADD, lambda d: d["cases"][0].update(id="arithmetic.add/2"))),
    "names of arguments": ("error usage.option", edited(ADD, lambda d: d["cases"][5].update(args={"z": 1}))),
    "not JSON": ("golden.mismatch", lambda folder: (folder / ADD).write_text("{")),
    "file missing": ("golden.missing", lambda folder: (folder / ADD).unlink()),
    "file unknown": ("stray.json: not in the manifest", lambda folder: (folder / "stray.json").write_text("{}")),
    "clause missing": ("golden.missing", edited("manifest.json", lambda d: d["files"].pop())),
    "other version": ("written for specification 9.9", edited("manifest.json", lambda d: d.update(spec="9.9"))),
    "manifest not JSON": ("file.syntax", lambda folder: (folder / "manifest.json").write_text("[]")),
    "layout": ("not what the oracle gives", edited(ADD, lambda d: None)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_reported(damage: str, folder: Path) -> None:
    text, act = DAMAGE[damage]
    act(folder)
    report = golden.check(folder, TESTS)
    assert not report.passed
    assert text in "\n".join([*map(str, report.problems), *(problem.code for problem in report.problems)])


def test_check_without_an_oracle(folder: Path) -> None:
    """A folder from elsewhere is compared with the interpreter only; nothing beside it is run."""
    (folder.parent / "tests").mkdir(exist_ok=True)
    (folder.parent / "tests" / "oracle.py").write_text("raise SystemExit('the neighbour was run')")
    report = golden.check(folder)
    assert report.passed
    assert "against interpreter and manifest: all pass" in report.text


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IntnnError) as raised:
        golden.check(tmp_path / "golden")
    assert raised.value.code == "golden.missing"
    assert raised.value.repair
    with pytest.raises(IntnnError) as raised:
        golden.write(tmp_path / "golden")
    assert raised.value.code == "file.write"
    assert golden.default_folder() == FOLDER
    monkeypatch.setattr(golden, "__file__", str(tmp_path / "site" / "intnn" / "golden.py"))
    with pytest.raises(IntnnError, match="work in a source checkout"):
        golden.default_folder()


def test_a_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ADD).unlink()
    (folder / ADD).mkdir()
    with pytest.raises(IntnnError) as raised:
        golden.write(folder)
    assert raised.value.code == "file.write"


def test_a_damaged_file_is_not_overwritten(folder: Path) -> None:
    (folder / ADD).write_text("{}")
    with pytest.raises(IntnnError) as raised:
        golden.write(folder)
    assert raised.value.code == "golden.mismatch"
    assert (folder / ADD).read_text() == "{}"
