"""For the test suites of implementers: one call that tests an implementation and fails with a report that stands
alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intnn.conform import campaign
from intnn.conform.device import Device
from intnn.conform.process import callable_device
from intnn.conform.report import text
from intnn.conform.verdict import Report
from intnn.model import Network


def assert_conforms(
    net: Network, implementation: Device | Callable[[Any], Any], *, count: int = 1024, seed: int = 0
) -> Report:
    """Test that ``implementation`` computes ``net`` on ``count`` inputs constructed for it; deterministic by ``seed``.

    ``implementation`` is a :class:`intnn.conform.device.Device`, which stays open, or a function that takes one
    input, a NumPy array of shape (inputs,) in the network's input type, and returns its outputs, integers of shape
    (outputs,).

    Returns the report of the campaign. Raises :class:`AssertionError` with its text where an answer is wrong, is
    missing or is not always the same; :class:`ModelError` ``model.overflow`` for a network that is not valid.
    """
    device = implementation if isinstance(implementation, Device) else callable_device(net, implementation)
    report = campaign.run(net, device, count=count, seed=seed, model=net.name or "the network")
    if report.exit_code:
        raise AssertionError("\n" + text.render(report, color=False, width=100))
    return report
