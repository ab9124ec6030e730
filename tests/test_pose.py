"""The sensors' physics against formulas of its own kind, the data, and the networks that come with the package."""

from __future__ import annotations

import itertools
import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intnn
from intnn.demo import pose
from intnn.errors import InputError, UsageError
from intnn.floats.meaning import decode, encode

ROOT = Path(__file__).parents[1]
EXAMPLE = runpy.run_path(str(ROOT / "docs" / "examples" / "pose.py"))
FIGURES = json.loads((ROOT / "docs" / "examples" / "pose-figures.json").read_text())
HOME = np.zeros((1, 6))
REACH = {"hall": [1, 1, 1] + [math.radians(5)] * 3, "stewart": [10, 10, 10] + [math.radians(10)] * 3}


# --- hall ----------------------------------------------------------------------------------------------------------


def test_the_field_on_a_dipoles_axis_and_equator() -> None:
    """Textbook cases: 2 m mu0 / 4 pi r^3 along the moment on its axis, half of it against the moment on the equator."""
    moment, r = np.array([0.0, 0.0, 0.05]), 0.012
    on_axis = 4e-7 * math.pi / (2 * math.pi) * 0.05 / r**3
    np.testing.assert_allclose(pose.dipole_field(np.array([0, 0, r]), moment), [0, 0, on_axis], rtol=1e-12)
    np.testing.assert_allclose(pose.dipole_field(np.array([0, 0, -r]), moment), [0, 0, on_axis], rtol=1e-12)
    for angle in (0.0, 1.0, 4.0):
        equator = r * np.array([math.cos(angle), math.sin(angle), 0])
        np.testing.assert_allclose(pose.dipole_field(equator, moment), [0, 0, -on_axis / 2], rtol=1e-12, atol=1e-20)


def test_the_field_is_that_of_two_poles_close_together() -> None:
    """A dipole is the limit of two magnetic charges, each with Coulomb's field."""
    moment, gap = np.array([0.02, -0.03, 0.05]), 1e-5
    at = np.array([0.004, 0.007, -0.009])
    strength = np.linalg.norm(moment) / gap
    direction = moment / np.linalg.norm(moment)
    field = np.zeros(3)
    for sign in (1, -1):
        away = at - sign * direction * gap / 2
        field += sign * 1e-7 * strength * away / np.linalg.norm(away) ** 3
    np.testing.assert_allclose(pose.dipole_field(at, moment), field, rtol=1e-5)


def test_the_magnets_moment() -> None:
    """A disc of N42 of 5 mm by 2 mm: about 39.3 mm^3 at 1.03 MA/m."""
    assert pytest.approx(39.27e-9 * 1.0345e6, rel=1e-3) == pose.MOMENT


def test_a_reading_by_hand() -> None:
    """One sensor at home in plain Python, sum by sum."""
    place, sensed, total = pose.SENSORS[1], pose.AXES[1], 0.0
    for i in range(3):
        angle = 2 * math.pi * i / 3
        d = [(place[0] - 7 * math.cos(angle)) / 1000, (place[1] - 7 * math.sin(angle)) / 1000, -0.009]
        r = math.hypot(*d)
        along = pose.MOMENT * d[2]
        b = [1e-7 * (3 * along * d[k] / r**5 - pose.MOMENT * (k == 2) / r**3) for k in range(3)]
        total += sum(b[k] * sensed[k] for k in range(3))
    assert math.isclose(pose.hall(HOME)[0, 1], 2048 + total * 60 * 4096 / 3.3, rel_tol=1e-12)


def test_the_sensors_are_alike_at_home() -> None:
    """Three magnets and six sensors, symmetric: turning by 120 degrees and mirroring changes nothing."""
    np.testing.assert_allclose(pose.hall(HOME), pose.hall(HOME)[0, 0], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(pose.AXES, axis=1), 1)
    lifted = pose.hall(np.array([[0, 0, 1.0, 0, 0, 0]]))
    assert (lifted - 2048 < pose.hall(HOME) - 2048).all(), "the field falls with distance"
    turned = np.array([[0, 0, 0.5, 0, 0, math.radians(120)]])
    np.testing.assert_allclose(pose.hall(turned), pose.hall(np.array([[0, 0, 0.5, 0, 0, 0]])))


@pytest.mark.parametrize(("task", "home", "anywhere"), [("hall", 1.75, 5.2), ("stewart", 3.0, 4.0)])
def test_six_readings_determine_the_pose_well(task: str, home: float, anywhere: float) -> None:
    reach = np.array(REACH[task])

    def condition(at: Any) -> float:
        step = 1e-4 * np.diag(reach)
        readings = pose.TASKS[task].readings
        return float(np.linalg.cond((readings(at + step) - readings(at - step)).T))

    assert condition(np.zeros(6)) < home
    assert max(condition(reach * signs) for signs in itertools.product((-1, 1), repeat=6)) < anywhere
    assert max(condition(at) for at in reach * np.random.default_rng(0).uniform(-1, 1, (100, 6))) < anywhere


# --- stewart -------------------------------------------------------------------------------------------------------


def test_leg_lengths_at_home() -> None:
    """Each leg goes from 60 mm at 50 degrees off to 40 mm at 10 degrees off, 80 mm up: the law of cosines."""
    across = 60**2 + 40**2 - 2 * 60 * 40 * math.cos(math.radians(40))
    np.testing.assert_allclose(pose.leg_lengths(HOME), math.sqrt(across + 80**2), rtol=1e-12)


def test_leg_lengths_by_screws() -> None:
    """A pure lift, a pure turn about the vertical and a pure tilt about x, leg by leg in plain Python."""
    lift, turn, tilt = 7.0, math.radians(9), math.radians(8)
    found = pose.leg_lengths(np.array([[0, 0, lift, 0, 0, 0], [0, 0, 0, 0, 0, turn], [0, 0, 0, tilt, 0, 0]]))
    for leg, ((bx, by, _), (px, py, _)) in enumerate(zip(pose.BASE, pose.PLATFORM, strict=True)):
        angle = math.atan2(py, px) + turn
        tilted = (px - bx, py * math.cos(tilt) - by, 80 + py * math.sin(tilt))
        assert math.isclose(found[0, leg], math.hypot(px - bx, py - by, 80 + lift))
        assert math.isclose(found[1, leg], math.hypot(40 * math.cos(angle) - bx, 40 * math.sin(angle) - by, 80))
        assert math.isclose(found[2, leg], math.hypot(*tilted))


def test_the_ends_of_the_encoder() -> None:
    counts = pose.stewart(HOME)[0]
    np.testing.assert_allclose(counts / 4095 * 60 + 60, pose.leg_lengths(HOME)[0])


def test_rotations_turn_about_fixed_axes_x_first() -> None:
    quarter = math.pi / 2
    turned = pose.rotation(np.array([[quarter, 0, quarter], [0, quarter, 0]]))
    np.testing.assert_allclose(turned[0] @ [0, 1, 0], [0, 0, 1], atol=1e-15)  # y to z, which stays
    np.testing.assert_allclose(turned[0] @ [0, 0, 1], [1, 0, 0], atol=1e-15)  # z to -y, then to x
    np.testing.assert_allclose(turned[1] @ [0, 0, 1], [1, 0, 0], atol=1e-15)
    some = pose.rotation(np.random.default_rng(0).uniform(-3, 3, (20, 3)))
    np.testing.assert_allclose(some @ np.swapaxes(some, 1, 2), np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(some), 1)


# --- Data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", pose.TASKS)
def test_samples(task: str) -> None:
    counts, poses = pose.samples(task, 20_000, 5)
    assert counts.dtype == np.int16
    assert counts.shape == poses.shape == (20_000, 6)
    assert 0 < counts.min() < counts.max() < 4095, "the ADC never saturates"
    assert (np.abs(poses) < np.array(REACH[task])).all()
    np.testing.assert_allclose(poses.std(axis=0), np.array(REACH[task]) / math.sqrt(3), rtol=0.02)  # uniform
    off = counts - pose.TASKS[task].readings(poses)
    assert abs(off.mean()) < 0.02
    assert off.std() == pytest.approx(math.sqrt(1 + 1 / 12), rel=0.02)  # one count of noise, and the rounding

    again, first = pose.samples(task, 20_000, 5), pose.samples(task, 100, 5)
    np.testing.assert_array_equal(again[0], counts)
    np.testing.assert_array_equal(first[0], counts[:100])
    np.testing.assert_array_equal(first[1], poses[:100])
    assert (pose.samples(task, 100, 6)[0] != first[0]).any()


def test_what_does_not_fit_the_adc_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose, "COUNTS_PER_TESLA", 1e7)
    monkeypatch.setitem(pose.TASKS, "hall", pose.Task("hall", lambda p: 9000 * np.sign(p), pose.TASKS["hall"].reach))
    assert set(np.unique(pose.samples("hall", 50, 0)[0])) == {0, 4095}


def test_errors_have_units() -> None:
    truth = np.zeros((4, 6))
    off = pose.pose_error("hall", truth, truth + np.array([0.3, 0, 0, 0, 0, 0.002]))
    assert off.mm == pytest.approx(math.sqrt(0.3**2 / 3))
    assert off.mrad == pytest.approx(math.sqrt(2**2 / 3))
    assert off.share == pytest.approx(math.sqrt((0.3**2 + (0.002 / math.radians(5)) ** 2) / 6))
    np.testing.assert_allclose(pose.targets("hall", np.array([REACH["hall"]])), 1)
    poses = pose.samples("stewart", 10, 0)[1]
    np.testing.assert_allclose(pose.to_poses("stewart", pose.targets("stewart", poses)), poses)


def test_mistakes() -> None:
    with pytest.raises(UsageError, match="no sensor 'gyro'"):
        pose.samples("gyro", 1, 0)
    with pytest.raises(InputError, match="poses of shape"):
        pose.pose_error("hall", np.zeros((2, 6)), np.zeros((3, 6)))


# --- The networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", pose.TASKS)
def test_the_bundled_networks(task: str) -> None:
    """They are what the page says: 12-bit in, int8 between, int16 out, proved, and nearly as good as their floats."""
    net, floats = pose.network(task), pose.float_network(task)
    assert net.sizes == floats.sizes == (6, 32, 32, 6)
    assert (net.input.type, net.input.min, net.input.max) == ("int16", 0, 4095)
    assert [layer.output.type for layer in net.layers] == ["int8", "int8", "int16"]
    assert net.int32_only
    assert intnn.prove(net).valid
    assert net.source.startswith(f"python docs/examples/pose.py train {task} --seed 0; ")
    counts, poses = pose.samples(task, 4000, 1234)
    by_floats = pose.pose_error(task, poses, pose.to_poses(task, floats.run(counts)))
    outputs = decode(net, intnn.run(net, encode(net, counts)))
    by_integers = pose.pose_error(task, poses, pose.to_poses(task, outputs))
    most = {"hall": (0.016, 1.9, 1.15), "stewart": (0.06, 1.1, 1.5)}[task]
    assert by_floats.mm < most[0]
    assert by_floats.mrad < most[1]
    assert by_integers.share < most[2] * by_floats.share


# --- The page ------------------------------------------------------------------------------------------------------


def test_the_table_is_that_of_the_figures() -> None:
    page = (ROOT / "docs" / "pose.md").read_text()
    assert page.split("<!-- table -->\n")[1].split("<!-- end -->")[0].rstrip() == EXAMPLE["table"](FIGURES)


def test_the_figures_hold_what_is_promised() -> None:
    """Means of five seeds on ``hall``."""
    assert len(FIGURES["hall"]) == len(FIGURES["stewart"]) == 5
    means = {name: np.mean([seed["ratios"][name] for seed in FIGURES["hall"]]) for name in FIGURES["hall"][0]["ratios"]}
    assert means["QAT int16, 8-bit"] <= 1.05
    assert means["PTQ int16, 8-bit"] <= 1.2
    assert means["QAT int8, 8-bit"] <= 1.25
    assert means["PTQ int8, 8-bit"] <= 1.25


def test_a_cell_of_the_table_by_hand() -> None:
    """Mean and standard deviation of 1, 2 and 6 are 3 and sqrt((4 + 1 + 9) / 2)."""
    seeds = [{"mm": mm, "mrad": 1.0, "ratios": {"PTQ int8, 8-bit": mm}} for mm in (1.0, 2.0, 6.0)]
    rows = EXAMPLE["table"]({"hall": seeds}).splitlines()
    assert "| float, mm | 3.0000 ± 2.6458 mm |  |" in rows
    assert "| int8, 8-bit | 3.000 ± 2.646 |  |" in rows


@pytest.mark.parametrize("task", pose.TASKS)
def test_the_bundled_networks_are_the_tables(task: str) -> None:
    """Seed 0 of the table is what the command ``train`` makes, which made the bundled networks."""
    base, found = (EXAMPLE["pose_error"](task, net) for net in (pose.float_network(task), pose.network(task)))
    recorded = FIGURES[task][0]
    assert base.mm == pytest.approx(recorded["mm"], rel=1e-6)
    assert found.share / base.share == pytest.approx(recorded["ratios"]["QAT int8, 8-bit"], rel=1e-6)


def test_the_data_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``intnn quantize`` and ``intnn train`` are given; calibration data are not training data."""
    monkeypatch.setenv("XLA_FLAGS", "")  # which the script sets
    monkeypatch.setattr("sys.argv", ["pose.py", "data", "stewart", "--seed", "2", "-o", str(tmp_path)])
    EXAMPLE["main"]()
    x, y, calib, target = (np.load(tmp_path / f"{name}.npy") for name in ("x", "y", "calib", "target"))
    counts, poses = pose.samples("stewart", 1000, 2)
    np.testing.assert_array_equal(x[:1000], counts)
    np.testing.assert_array_equal(y[:1000], poses / pose.TASKS["stewart"].reach)
    assert len(x) == len(y) == 200_000
    assert calib.shape == target.shape == (4096, 6)
    assert (calib != x[:4096]).any()
    assert np.abs(target).max() <= 1
