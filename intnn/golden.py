"""The golden vectors: building and checking the folder ``golden/`` [file.golden].

The folder holds ``<clause>.json`` for every operation of :mod:`intnn.operations`, and ``manifest.json``. Their bytes
are fixed, so that files can be hashed and read as a diff: ASCII JSON without white space, the members of every object
sorted except that ``cases`` (in the manifest ``files``) comes last, a line break before and after each of its
entries, a newline at the end. Cases are sorted by number. The number of a case that goes is not given again: ``next``
counts on.

Expected values never come from the interpreter: :func:`write` takes them from the oracle, and the flags from the
mutants, that stand beside the tests of a source checkout.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from intnn.errors import FileError, IntnnError
from intnn.formats.native import canonical, parse, read_bytes
from intnn.golden_cases import cases
from intnn.operations import OPERATIONS, Json, execute, judge
from intnn.version import SPEC_VERSION

__all__ = ["Report", "check", "default_folder", "execute", "oracle_folder", "write"]

MANIFEST = "manifest.json"
Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What :func:`check` found: how much was compared, and every problem. ``text`` is one line about the whole."""

    cases: int
    text: str
    problems: tuple[IntnnError, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def default_folder() -> Path:
    """The golden folder of the source checkout; raises :class:`FileError` ``golden.missing`` outside one."""
    folder = Path(__file__).parents[1] / "golden"
    if not folder.is_dir():
        raise _missing(folder)
    return folder


def oracle_folder() -> Path | None:
    """The folder of oracle and mutants, the tests of the source checkout; ``None`` outside one."""
    folder = Path(__file__).parents[1] / "tests"
    return folder if (folder / "oracle.py").is_file() else None


def check(folder: Path, tests: Path | None = None) -> Report:
    """Run every case of ``folder`` on the interpreter and verify the files against the manifest.

    Where ``tests``, the folder of the oracle, is given, the files are also compared with what :func:`write` would
    write; otherwise nothing but this package is run. Problems are reported, not raised; without a manifest it raises
    :class:`FileError` ``golden.missing``.
    """
    if not (folder / MANIFEST).is_file():
        raise _missing(folder / MANIFEST)
    problems: list[IntnnError] = []
    count = 0
    entries = _guard(problems, lambda: _entries(folder), [])
    for entry in entries:
        document = _guard(problems, lambda e=entry: _file(folder, e), None)  # type: ignore[misc]  # mypy and defaults
        for case in document["cases"] if document else ():
            count += 1
            verdict = _guard(problems, lambda c=case: judge(c), "pass")  # type: ignore[misc]  # as above
            if verdict != "pass":
                problems.append(_difference(case, verdict))
    known = {entry["clause"] for entry in entries}
    problems += [_missing(folder / f"{clause}.json") for clause in OPERATIONS if clause not in known]
    stray = {path.name for path in folder.glob("*.json")} - {f"{clause}.json" for clause in known} - {MANIFEST}
    problems += [_wrong(str(folder / name), "not in the manifest") for name in sorted(stray)]

    if tests:
        for name, data in _guard(problems, lambda: build(folder, tests), {}).items():
            if _bytes(folder / name) != data:
                problems.append(_wrong(str(folder / name), "not what the oracle gives", "the output of golden --write"))
    verdict = f"{len(problems)} problems" if problems else "all pass"
    against = "interpreter, manifest and oracle" if tests else "interpreter and manifest"
    return Report(
        count, f"{folder}: {count} cases of {len(entries)} clauses against {against}: {verdict}", tuple(problems)
    )


def write(folder: Path, tests: Path | None = None) -> str:
    """Write the golden files anew, from the oracle in ``tests`` (by default :func:`oracle_folder`).

    Cases that were there keep their ids. Returns a line to print; raises :class:`FileError` ``golden.missing`` without
    an oracle, ``file.write``.
    """
    tests = tests or oracle_folder()
    if tests is None:
        raise _missing(Path(__file__).parents[1] / "tests" / "oracle.py")
    if not folder.is_dir():  # found out before what takes seconds
        raise FileError("file.write", "cannot be written: there is no such folder", where=str(folder))
    files = build(folder, tests)
    changed = [name for name, data in files.items() if _bytes(folder / name) != data]
    try:
        for name in changed:
            (folder / name).write_bytes(files[name])
    except OSError as error:
        raise FileError("file.write", f"cannot be written: {error.strerror}", where=str(folder)) from None
    return f"{folder}: {len(files)} files, {sum(map(len, files.values()))} bytes, {len(changed)} changed"


def build(folder: Path, tests: Path) -> dict[str, bytes]:
    """The golden files as they should be, by name; ids of known cases are taken from ``folder``."""
    oracle, mutants = _load(tests, "oracle"), _load(tests, "mutants")
    files, entries = {}, []
    for clause in sorted(OPERATIONS):
        document = _document(clause, _known(folder / f"{clause}.json"), oracle.outcome, mutants.flags)
        data = layout(document, "cases")
        flags = sorted({flag for case in document["cases"] for flag in case["flags"]})
        entries.append(
            {
                "clause": clause,
                "count": len(document["cases"]),
                "flags": flags,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
        files[f"{clause}.json"] = data
    files[MANIFEST] = layout({"spec": SPEC_VERSION, "files": entries}, "files")
    return files


def layout(document: Document, last: str) -> bytes:
    """The fixed bytes of a golden file or the manifest; ``last`` names the member with an entry a line."""
    head = canonical({name: value for name, value in document.items() if name != last})
    lines = b",\n".join(canonical(entry) for entry in document[last])
    return head[:-1] + b',"' + last.encode("ascii") + b'":[\n' + lines + b"\n]}\n"


def _document(
    clause: str,
    known: tuple[dict[bytes, int], int],
    outcome: Callable[[str, Document], Document],
    flags: Callable[[str, Document], list[str]],
) -> Document:
    numbers, following = known
    found = []
    for group, args in cases(clause):
        number = numbers.get(canonical(args))
        if number is None:
            number, following = following, following + 1
        result = outcome(clause, args)
        if result.get("error", "").startswith("contract."):  # which kind is no concern of an implementation under test
            result = {"error": "contract"}
        found.append((number, {"args": args, "flags": flags(clause, args), "group": group, **result}))
    ordered = [{"id": f"{clause}/{number}", **case} for number, case in sorted(found, key=lambda pair: pair[0])]
    faults = sorted({flag for case in ordered for flag in case["flags"]})
    told = (
        f"they tell the rule from these faults: {', '.join(faults)}." if faults else "they expose no particular fault."
    )
    summary = f"{len(ordered)} cases of [{clause}]; {told}"
    return {"clause": clause, "spec": SPEC_VERSION, "summary": summary, "next": following, "cases": ordered}


def _known(path: Path) -> tuple[dict[bytes, int], int]:
    """The number of each case in the file by its arguments, and the next number to give."""
    if not path.is_file():
        return {}, 1
    try:
        document = parse(read_bytes(path))
        numbers = {canonical(case["args"]): int(case["id"].partition("/")[2]) for case in document["cases"]}
        return numbers, int(document["next"])
    except (IntnnError, AttributeError, LookupError, TypeError, ValueError):
        raise _wrong(str(path), "damaged: its ids cannot be read", "the file as it is in version control") from None


def _load(tests: Path, name: str) -> Any:
    """A module of the tests, which are no package: imported by its plain name, as pytest does."""
    if not (tests / f"{name}.py").is_file():
        raise _missing(tests / f"{name}.py")
    sys.path.insert(0, str(tests))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(tests))


# --- checking


def _guard(problems: list[IntnnError], read: Callable[[], Json], otherwise: Json) -> Json:
    try:
        return read()
    except IntnnError as error:
        problems.append(error)
        return otherwise


def _entries(folder: Path) -> list[Document]:
    place = str(folder / MANIFEST)
    manifest = _parse(folder / MANIFEST)
    _members(manifest, {"spec": str, "files": list}, place)
    if manifest["spec"] != SPEC_VERSION:
        raise _wrong(place, f"written for specification {manifest['spec']}", SPEC_VERSION)
    for entry in manifest["files"]:
        _members(entry, {"clause": str, "count": int, "flags": list, "sha256": str}, place)
    entries: list[Document] = manifest["files"]
    return entries


def _file(folder: Path, entry: Document) -> Document:
    """The file of a manifest entry, with its structure verified."""
    path = folder / f"{entry['clause']}.json"
    place = str(path)
    if not path.is_file():
        raise _missing(path)
    if hashlib.sha256(read_bytes(path)).hexdigest() != entry["sha256"]:
        raise _wrong(place, "not the content whose hash the manifest has", entry["sha256"])
    document = _parse(path)
    _members(document, {"clause": str, "spec": str, "summary": str, "next": int, "cases": list}, place)
    for case in document["cases"]:
        outcome = {"error": str} if "error" in case else {"expected": object}
        _members(case, {"id": str, "args": dict, "flags": list, "group": str, **outcome}, place)
        clause, _, number = case["id"].partition("/")
        if clause != entry["clause"] or not number.isdecimal() or int(number) >= document["next"]:
            raise _wrong(place, f"id {case['id']}", f"{entry['clause']}/ and a number below {document['next']}")
    ids = [case["id"] for case in document["cases"]]
    flags = sorted({flag for case in document["cases"] for flag in case["flags"]})
    if len(set(ids)) != len(ids):
        raise _wrong(place, "an id that stands twice")
    found = (document["clause"], document["spec"], len(ids), flags)
    if found != (entry["clause"], SPEC_VERSION, entry["count"], entry["flags"]):
        raise _wrong(place, "clause, spec, number of cases or flags are not those of the manifest")
    return document


def _members(value: Json, kinds: dict[str, type], place: str) -> None:
    if not isinstance(value, dict) or value.keys() != kinds.keys():
        raise _wrong(place, "an object with other members", ", ".join(kinds))
    for name, kind in kinds.items():
        if not isinstance(value[name], kind):
            raise _wrong(place, f"member {name} is of another kind", kind.__name__)


def _parse(path: Path) -> Document:
    try:
        return parse(read_bytes(path))
    except IntnnError as error:
        raise error.within(str(path)) from None


def _difference(case: Document, verdict: Json) -> IntnnError:
    """A mismatch in one line that reads alone."""
    index = "".join(f"[{i}]" for i in verdict["index"])
    args = " ".join(f"{name}={canonical(value).decode()[:300]}" for name, value in case["args"].items())
    got, expected = (canonical(verdict[name]).decode()[:300] for name in ("got", "expected"))
    return _wrong(case["id"], f"got{index and ' ' + index} {got}, spec says {expected}; {args}")


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _wrong(place: str, found: str, expected: str = "") -> FileError:
    return FileError("golden.mismatch", found, where=place, expected=expected)


def _missing(path: Path) -> FileError:
    repair = "work in a source checkout of intnn, name the folder with --folder, or run `intnn golden --write`"
    return FileError("golden.missing", "not there", where=str(path), repair=repair)
