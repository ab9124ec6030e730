"""The specification's text: every clause has an example, a golden file and a place in the code; every example runs.

An example line is ``operation name=json ... => json`` or ``... => error code``; ``@name`` stands for a model that a
block ```` ```json model=name ```` defines. Both the interpreter and the oracle must give what the text says.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import oracle
import pytest

from intnn.errors import IntnnError
from intnn.operations import OPERATIONS, execute

ROOT = Path(__file__).parents[1]
HEADING = re.compile(r"^###? \[([a-z]+\.[a-z0-9-]+)\] \S", re.MULTILINE)
BLOCK = re.compile(r"^```(\S+)(?: model=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CITATION = re.compile(r"(?<![\w)\]])\[([a-z]+\.[a-z0-9-]+)\]")
TOKENS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


class Example(NamedTuple):
    line: str
    op: str
    args: dict[str, Any]
    outcome: dict[str, Any]


def parse(line: str, models: dict[str, Any]) -> Example:
    """An example line; raises ValueError where it is not one."""
    op, _, rest = line.partition(" ")
    args = {}
    while not rest.startswith("=> "):
        name, equals, rest = rest.partition("=")
        if not (equals and name.isidentifier()):
            raise ValueError(f"name=json or => expected: {line}")
        if rest.startswith("@"):
            reference, _, rest = rest.partition(" ")
            args[name] = models[reference[1:]]
        else:
            args[name], end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end:].removeprefix(" ")
    result = rest.removeprefix("=> ")
    if result.startswith("error "):
        return Example(line, op, args, {"error": result.removeprefix("error ")})
    return Example(line, op, args, {"expected": json.loads(result)})


def read(texts: list[str]) -> tuple[list[str], list[Example]]:
    """Clause ids and examples of the texts, in order."""
    clauses: list[str] = []
    examples: list[Example] = []
    models: dict[str, Any] = {}
    for text in texts:
        clauses += HEADING.findall(text)
        for kind, name, body in BLOCK.findall(text):
            if name:
                models[name] = json.loads(body)
            if kind == "example":
                examples += [parse(line, models) for line in body.splitlines() if line]
    return clauses, examples


@cache
def citations(path: Path) -> set[str]:
    """The clause ids that comments and strings of a source file cite."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {found for token in tokens if token.type in TOKENS for found in CITATION.findall(token.string)}


CLAUSES, EXAMPLES = read([path.read_text() for path in sorted((ROOT / "spec").glob("*.md"))])
SOURCES = sorted((ROOT / "intnn").rglob("*.py"))


def run(op: str, args: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"expected": execute(op, args)}
    except IntnnError as error:
        return {"error": error.code}


def same(found: dict[str, Any], stated: dict[str, Any]) -> bool:
    """Equal as JSON, where ``True`` is not 1."""
    return json.dumps(found, sort_keys=True) == json.dumps(stated, sort_keys=True)


def test_clause_ids_are_unique() -> None:
    assert len(CLAUSES) == len(set(CLAUSES))


def test_clauses_and_operations_are_the_same() -> None:
    assert set(CLAUSES) == set(OPERATIONS)


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_has_an_example_of_its_own(clause: str) -> None:
    assert clause in {example.op for example in EXAMPLES}


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_has_a_golden_file(clause: str) -> None:
    assert (ROOT / "golden" / f"{clause}.json").is_file()


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_is_cited_by_code(clause: str) -> None:
    assert any(clause in citations(path) for path in SOURCES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_cites_clauses_that_exist(path: Path) -> None:
    families = {clause.partition(".")[0] for clause in CLAUSES}
    assert {cited for cited in citations(path) if cited.partition(".")[0] in families} <= set(CLAUSES)


@pytest.mark.parametrize("clause", dict.fromkeys(example.op for example in EXAMPLES))
def test_examples(clause: str) -> None:
    wrong = []
    for line, op, args, stated in (example for example in EXAMPLES if example.op == clause):
        for name, found in (("interpreter", run(op, args)), ("oracle", oracle.outcome(op, args))):
            if not same(found, stated):
                wrong.append(f"{name} gives {json.dumps(found)} for: {line}")
    assert not wrong, "\n".join(wrong)


def test_clauses_cited_by_the_text_exist() -> None:
    text = "".join(path.read_text() for path in (ROOT / "spec").glob("*.md"))
    assert set(re.findall(r"\[([a-z]+\.[a-z0-9-]+)\](?!\()", text)) <= set(CLAUSES)


def test_parser() -> None:
    text = """### [a.b] Title
```json model=m
{"k": [1,
 2]}
```
```example
a.b x=-1 text="=> y=2" model=@m => {"k":"v => w"}
a.b list=[1, 2] => error contract.int32
```
"""
    assert read([text]) == (
        ["a.b"],
        [
            Example(
                text.splitlines()[6],
                "a.b",
                {"x": -1, "text": "=> y=2", "model": {"k": [1, 2]}},
                {"expected": {"k": "v => w"}},
            ),
            Example(text.splitlines()[7], "a.b", {"list": [1, 2]}, {"error": "contract.int32"}),
        ],
    )
    for wrong in ("a.b", "a.b x => 1", "a.b x=1", "a.b x=1 =>", "a.b x=[ => 1"):
        with pytest.raises(ValueError, match=r"."):
            parse(wrong, {})
