"""The fast engine keeps its promise of speed: medians of interleaved rounds beside LiteRT, bit-identical first."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import bench_fast

pytestmark = [pytest.mark.engines, pytest.mark.slow]

MODEL = Path(__file__).resolve().parents[3] / "shared" / "models" / "mlperf_ad01_int8.tflite"


@pytest.fixture(scope="module")
def timing() -> bench_fast.Timing:
    pytest.importorskip("ai_edge_litert", reason="LiteRT to compare with: pip install ai-edge-litert")
    if not MODEL.is_file():
        pytest.skip(f"{MODEL.name} of MLPerf Tiny is not in {MODEL.parent}")
    return bench_fast.measure(MODEL)


@pytest.mark.parametrize("mode", bench_fast.PAIRS)
def test_the_fast_engine_beside_litert(timing: bench_fast.Timing, mode: str) -> None:
    limit = bench_fast.PAIRS[mode][1]
    assert timing.ratios[mode] <= limit, f"median times in ms: {timing.milliseconds}"


def test_import_is_quick() -> None:
    assert bench_fast.measure_import() < bench_fast.IMPORT_SECONDS
