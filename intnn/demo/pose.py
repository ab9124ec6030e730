"""Two sensors as physics: from an object's pose to six counts of a 12-bit ADC. The pose networks learn the way back.

A pose is (x, y, z, rx, ry, rz): millimetres, and radians about the fixed axes, x first. ``hall`` is a puck with
magnets above a board with Hall sensors, ``stewart`` a hexapod whose six legs are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intnn.errors import InputError, UsageError
from intnn.floats.network import FloatNetwork, Floats
from intnn.formats.native import loads
from intnn.formats.weights import read_weights
from intnn.model import Network

Counts = npt.NDArray[np.int16]

ADC_MAX = 4095
NOISE = 1.0
"""Standard deviation of what is added before the ADC rounds, in counts."""

CHUNK = 8192
"""Poses simulated at once, so that a million of them need little memory."""


# --- hall: three magnets on a puck, six sensors below it ----------------------------------------------------------

MU0_4PI = 1e-7
"""Magnetic constant over 4 pi, in T m / A."""

MOMENT = 1.3 / (4e-7 * np.pi) * np.pi * 2.5e-3**2 * 2e-3
"""Of a disc of 5 mm by 2 mm with a remanence of 1.3 T, in A m^2: remanence / mu0 * volume."""

COUNTS_PER_TESLA = 60.0 * (ADC_MAX + 1) / 3.3
"""A sensor of 60 V/T (60 mV/mT) on an ADC of 3.3 V."""

ZERO_FIELD = 2048
"""Counts without a field."""

# Magnets at 0, 120 and 240 degrees on a circle of 7 mm, moments along the puck's axis. Sensors every 60 degrees on a
# circle of 7 mm, 9 mm below the magnets at home; each axis is tilted by 45 degrees from the vertical, outwards in the
# direction of the nearest magnet. That makes a well conditioned problem: the singular values of the readings' change
# by the coordinates, each over its reach, differ by a factor of 1.7 at home, and of 5.1 in the worst corner
# (tests/test_pose.py).
_THIRDS = np.deg2rad([0.0, 120.0, 240.0])
_NEAREST = np.repeat(_THIRDS, 2)


def _circle(radius: float, angles: Floats, height: float) -> Floats:
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full_like(angles, height)], axis=-1)


MAGNETS = _circle(7.0, _THIRDS, 0.0)
"""Their places on the puck, (3, 3) mm."""

SENSORS = _circle(7.0, _NEAREST + np.deg2rad([-30.0, 30.0] * 3), -9.0)
"""Their places on the board, (6, 3) mm, from the puck's home."""

AXES = np.sqrt(0.5) * _circle(1.0, _NEAREST, 1.0)
"""The directions they sense, (6, 3), of length 1."""


def rotation(angles: Floats) -> Floats:
    """The matrices ``Rz Ry Rx`` (batch, 3, 3) for (rx, ry, rz) in radians, (batch, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def placed(points: Floats, pose: Floats) -> Floats:
    """``points`` (n, 3) mm on a body, as the pose (batch, 6) places them: (batch, n, 3) mm."""
    moved: Floats = points @ np.swapaxes(rotation(pose[:, 3:]), 1, 2) + pose[:, None, :3]
    return moved


def dipole_field(offset: Floats, moment: Floats) -> Floats:
    """The flux density (..., 3) in tesla at ``offset`` (..., 3) metres from a dipole of ``moment`` (..., 3) A m^2:
    ``mu0 / 4 pi * (3 (m . u) u - m) / r^3`` with r the distance and u the direction."""
    r = np.linalg.norm(offset, axis=-1, keepdims=True)
    u = offset / r
    field: Floats = MU0_4PI * (3 * (moment * u).sum(axis=-1, keepdims=True) * u - moment) / r**3
    return field


def hall(pose: Floats) -> Floats:
    """What six sensors read, in counts before noise and ADC (batch, 6), for the puck's ``pose`` (batch, 6)."""
    offset = (SENSORS[:, None] - placed(MAGNETS, pose)[:, None]) / 1000  # (batch, sensor, magnet, 3), in metres
    moment = MOMENT * rotation(pose[:, 3:])[:, None, None, :, 2]  # the puck's axis, (batch, 1, 1, 3)
    along = (dipole_field(offset, moment).sum(axis=2) * AXES).sum(axis=-1)
    return np.asarray(ZERO_FIELD + COUNTS_PER_TESLA * along)


# --- stewart: a platform on six legs ------------------------------------------------------------------------------

BASE = _circle(60.0, _NEAREST + np.deg2rad([-50.0, 50.0] * 3), -80.0)
"""Where the legs stand, (6, 3) mm from the platform's centre at home."""

PLATFORM = _circle(40.0, _NEAREST + np.deg2rad([-10.0, 10.0] * 3), 0.0)
"""Where they hold the platform, (6, 3) mm from its centre."""

LEG_MIN, LEG_MAX = 60.0, 120.0
"""Leg lengths at counts 0 and 4095, in mm."""


def leg_lengths(pose: Floats) -> Floats:
    """The legs' lengths in mm (batch, 6): ``|R p + t - b|``."""
    lengths: Floats = np.linalg.norm(placed(PLATFORM, pose) - BASE, axis=-1)
    return lengths


def stewart(pose: Floats) -> Floats:
    """What six encoders read, in counts before noise and ADC (batch, 6), for the platform's ``pose`` (batch, 6)."""
    return (leg_lengths(pose) - LEG_MIN) * (ADC_MAX / (LEG_MAX - LEG_MIN))


# --- Data and errors ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Task:
    """A sensor: ``readings`` from poses (batch, 6) to ideal counts (batch, 6); poses lie within +-``reach`` (6,)."""

    name: str
    readings: Callable[[Floats], Floats]
    reach: Floats


def _reach(millimetres: float, degrees: float) -> Floats:
    return np.repeat([millimetres, np.deg2rad(degrees)], 3)


TASKS = {
    "hall": Task("hall", hall, _reach(1.0, 5.0)),
    "stewart": Task("stewart", stewart, _reach(10.0, 10.0)),
}
"""The two sensors, by name."""


class PoseError(NamedTuple):
    """Root mean squared error of a coordinate: ``mm`` over x, y, z; ``mrad`` over rx, ry, rz; and ``share`` over all
    six, each as a share of its reach, which is what ratios between networks are taken of."""

    mm: float
    mrad: float
    share: float


def find_task(name: str) -> Task:
    """The sensor ``hall`` or ``stewart``. Raises :class:`UsageError` ``usage.option``."""
    if name not in TASKS:
        raise UsageError("usage.option", f"no sensor {name!r}", expected=" or ".join(TASKS))
    return TASKS[name]


def samples(task: str, count: int, seed: int) -> tuple[Counts, Floats]:
    """``count`` poses, uniform within the reach, and what the ADC says of them.

    Returns counts int16 (count, 6) in [0, 4095] and poses float64 (count, 6), mm and rad. The same seed gives the same
    data; the first rows do not depend on ``count``. Raises :class:`UsageError`.
    """
    found = find_task(task)
    poses, counts = np.empty((count, 6)), np.empty((count, 6), np.int16)
    rng = np.random.default_rng([list(TASKS).index(task), seed])
    for start in range(0, count, CHUNK):
        pose = found.reach * rng.uniform(-1, 1, (CHUNK, 6))
        read = found.readings(pose) + NOISE * rng.standard_normal((CHUNK, 6))
        rows = slice(start, min(start + CHUNK, count))
        poses[rows] = pose[: rows.stop - start]
        counts[rows] = np.rint(read).clip(0, ADC_MAX)[: rows.stop - start]
    return counts, poses


def targets(task: str, poses: Floats) -> Floats:
    """What networks learn: ``poses`` as shares of the reach, within [-1, 1], so that mm and rad weigh the same."""
    return np.asarray(poses / find_task(task).reach)


def to_poses(task: str, outputs: Floats) -> Floats:
    """Back from a network's outputs (batch, 6), of floats or decoded, to mm and rad."""
    return np.asarray(outputs * find_task(task).reach)


def pose_error(task: str, truth: Floats, found: Floats) -> PoseError:
    """How far the poses ``found`` are from the ``truth``, both (batch, 6) in mm and rad.

    Raises :class:`InputError` ``input.shape``.
    """
    if truth.shape != found.shape or truth.ndim != 2 or truth.shape[1] != 6 or not len(truth):
        raise InputError(
            "input.shape", f"poses of shape {found.shape} against {truth.shape}", expected="(batch, 6) both"
        )
    squares = ((found - truth) ** 2).mean(axis=0)
    shares = squares / find_task(task).reach ** 2
    return PoseError(
        float(np.sqrt(squares[:3].mean())), float(1000 * np.sqrt(squares[3:].mean())), float(np.sqrt(shares.mean()))
    )


# --- The networks that come with intnn ----------------------------------------------------------------------------


def network(task: str) -> Network:
    """The integer network of ``task``: it takes counts, and gives targets. docs/examples/pose.py trained it.

    Raises :class:`UsageError`.
    """
    name = f"{find_task(task).name}.json"
    return loads((resources.files("intnn.demo") / name).read_bytes(), where=name)


def float_network(task: str) -> FloatNetwork:
    """The float network that :func:`network` was made from. Raises :class:`UsageError`."""
    with resources.as_file(resources.files("intnn.demo") / f"{find_task(task).name}.npz") as path:
        return read_weights(path).network
