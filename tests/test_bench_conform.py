"""What the benchmark of devices measures, and the speed that campaigns rely on."""

from __future__ import annotations

import pytest
from bench_conform import host, measure
from bench_verify import network
from native import host_compiler

from intnn.targets.compilers import find


@pytest.mark.slow
def test_a_hundred_thousand_inferences_a_second() -> None:
    """Through a shared library, 6-16-16-6."""
    host_compiler()
    taken, compiler = measure(network(6, 16, 16, 6), host(), "2", 100_000, runs=3)
    assert compiler.endswith(" -O2")
    assert taken < 1


@pytest.mark.slow
def test_ten_thousand_inputs_through_the_emulated_core_in_a_minute() -> None:
    """6-32-32-6, the size of docs/examples/pose.json."""
    pytest.importorskip("unicorn", reason="needs unicorn (pip install 'intnn[targets]')")
    if find("zig") is None and find("arm-none-eabi-gcc") is None:
        pytest.skip("needs a compiler for the Cortex-M0 (pip install 'intnn[targets]')")
    assert measure(network(6, 32, 32, 6), "cortex-m0", "2", 10_000, runs=1)[0] < 60
