"""The times that proofs are promised to take on an ordinary machine."""

from __future__ import annotations

import bench_verify
import pytest

pytestmark = pytest.mark.slow


def test_small_proof() -> None:
    assert bench_verify.proof_time(bench_verify.network(6, 16, 16, 6), 20) < 0.1


def test_large_proof() -> None:
    assert bench_verify.proof_time(bench_verify.network(784, 128, 64, 10), 1) < 10


def test_batch() -> None:
    assert bench_verify.batch_time(bench_verify.network(6, 16, 16, 6), 10_000, 10) < 0.1


def test_time_grows_with_the_number_of_weights() -> None:
    """Eight times the weights take about eight times as long: far from the 64 times of quadratic growth."""
    times = bench_verify.growth()
    assert times[-1][1] / times[0][1] < 2 * times[-1][0] / times[0][0]
