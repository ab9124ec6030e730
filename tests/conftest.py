"""Test settings: the same examples every time, so that a failure in CI is a failure here."""

import gc

from hypothesis import settings

settings.register_profile("intnn", derandomize=True, deadline=None, database=None)
settings.load_profile("intnn")

gc.disable()


def pytest_collection_finish() -> None:
    """From here on there is garbage, but not among what was collected: going through that again and again took 40 % of
    the time of tests that parse much C."""
    gc.freeze()
    gc.enable()
