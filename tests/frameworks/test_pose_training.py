"""docs/examples/pose.py trains: briefly and twice alike; and, marked slow, the bundled networks once more."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import intnn
from intnn.demo import pose

pytestmark = pytest.mark.frameworks
jax = pytest.importorskip("jax", reason="training needs JAX: pip install 'intnn[train]'")
pytest.importorskip("optax", reason="training needs optax: pip install 'intnn[train]'")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "examples" / "pose.py"
EXAMPLE = runpy.run_path(str(SCRIPT))


def test_a_short_training_learns_and_repeats() -> None:
    """A fiftieth of the steps is far from the best, and far better than knowing nothing, 0.577 of the reach."""
    floats = EXAMPLE["train_float"]("hall", 3, steps=1500)
    scheme = intnn.Scheme(activations="int16")
    net = EXAMPLE["tune"]("hall", 3, floats, scheme, qat_steps=500)
    assert EXAMPLE["pose_error"]("hall", floats).share < 0.1
    assert EXAMPLE["pose_error"]("hall", net).share < 1.05 * EXAMPLE["pose_error"]("hall", floats).share
    again = EXAMPLE["train_float"]("hall", 3, steps=1500)
    assert intnn.dumps(EXAMPLE["tune"]("hall", 3, again, scheme, qat_steps=500)) == intnn.dumps(net)


@pytest.mark.slow
@pytest.mark.parametrize("task", pose.TASKS)
def test_the_bundled_networks_train_again(task: str, tmp_path: Path) -> None:
    """The exact command; the same bytes only on the same kind of machine, so the errors are compared, to 3 %."""
    source = pose.network(task).source
    assert source.startswith(f"python docs/examples/pose.py train {task} --seed 0; ")
    subprocess.run([sys.executable, str(SCRIPT), "train", task, "--seed", "0", "-o", str(tmp_path)], check=True)
    net = intnn.load(tmp_path / f"{task}.json")
    found, bundled = (EXAMPLE["pose_error"](task, each).share for each in (net, pose.network(task)))
    assert found == pytest.approx(bundled, rel=0.03)
    x = pose.samples(task, 1000, 77)[0]
    assert np.corrcoef(intnn.run(net, x)[:, 0], intnn.run(pose.network(task), x)[:, 0])[0, 1] > 0.99
