"""Test settings: the same examples every time, so that a failure in CI is a failure here."""

import gc

from hypothesis import settings

settings.register_profile("intnn", derandomize=True, deadline=None, database=None)
settings.load_profile("intnn")

gc.disable()


def pytest_collection_finish() -> None:
    """From here on there is garbage to collect, but not among what was collected: to go through that again and again
    would take a quarter of the run."""
    gc.freeze()
    gc.enable()
