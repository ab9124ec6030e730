"""Every command and snippet of README.md and docs/ runs, and prints what it is shown to print.

A ``python`` block is executed; a ``console`` block is a session: lines after ``$ `` are commands, the lines below each
what it prints, stdout and stderr together. ``...`` in an output stands for anything within its line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_builder import Layer, Model, build

from intnn.conform.fault_models import MODELS, NEURON_MODELS

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "conformance.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
FRAMEWORKS = ("jax", "sklearn")
NEEDS = re.compile(r"^```(\w+) needs=(\S+)\n(.*?)^```$", re.S | re.M)  # run where there is such a program


def example_tflite() -> bytes:
    """The bytes of docs/examples/model.tflite."""
    layers = (
        Layer(np.array([[90, -20, 7], [-128, 50, 3]], np.int8), 0.01, 0.05, -128, np.array([100, -50]), "RELU"),
        Layer(np.array([[127, -64]], np.int8), 0.008, 0.02, 5, np.array([-7])),
    )
    return build(Model(0.03, layers, input_zero_point=-3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that has docs/examples, as the top of a clone."""
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    return tmp_path


def test_the_example_is_what_it_is_said_to_be() -> None:
    assert (ROOT / "docs" / "examples" / "model.tflite").read_bytes() == example_tflite()


def run(command: str, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def session(text: str) -> list[tuple[str, str]]:
    """Commands and their outputs."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def matches(printed: str, shown: str) -> bool:
    """Whether a command has printed what is shown, ``...`` standing for anything within its line."""
    pattern = re.escape(shown.rstrip("\n")).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, printed.rstrip("\n")) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, folder: Path) -> None:
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            (folder / "snippet.py").write_text(text)
            done = subprocess.run(
                [sys.executable, "snippet.py"], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        elif language == "console":
            for command, shown in session(text):
                printed = run(command, folder)
                assert matches(printed, shown), f"$ {command}\n{printed}"
        else:
            known = ("sh", "json") if page.name == "README.md" else ("json",)
            assert language in known, f"{page.name}: a block of {language} is not tested"


def needing(*, framework: bool) -> list[Any]:
    """The blocks of all pages that need a program, or time, or a framework."""
    return [
        pytest.param(what, text, id=f"{page.name}-{what}", marks=[pytest.mark.slow] if what == "time" else [])
        for page in PAGES
        for language, what, text in NEEDS.findall(page.read_text())
        if (what in FRAMEWORKS) == framework and language == "console"
    ]


@pytest.mark.parametrize(("program", "text"), needing(framework=False))
def test_what_needs_another_program(program: str, text: str, folder: Path) -> None:
    if program != "time" and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    for command, shown in session(text):
        printed = run(command, folder)
        assert matches(printed, shown), f"$ {command}\n{printed}"


@pytest.mark.frameworks
@pytest.mark.parametrize(("framework", "text"), needing(framework=True))
def test_what_needs_a_framework(framework: str, text: str, folder: Path) -> None:
    pytest.importorskip(framework)
    for command, shown in session(text):
        printed = run(command, folder)
        assert matches(printed, shown), f"$ {command}\n{printed}"


def test_the_guide_lists_every_fault() -> None:
    listed = re.findall(r"^\| `([a-z0-9.-]+)`(?: \[o(?:,i)?\])? \| (\w+) \| (.*) \|$", GUIDE.read_text(), re.M)
    assert listed[: len(MODELS)] == [(model.name, model.stage, model.verb) for model in MODELS]
    assert [name for name, _, _ in listed[len(MODELS) :]] == [model.name for model in NEURON_MODELS]


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, *sorted((ROOT / "spec").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readmes_commands_are_what_ci_runs() -> None:
    first = next(text for language, text in BLOCK.findall((ROOT / "README.md").read_text()) if language == "sh")
    demo, tests = first.strip().splitlines()
    assert demo.startswith("python3 -m venv .venv && ")
    assert demo.endswith("intnn demo")
    assert tests.endswith("-m pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
