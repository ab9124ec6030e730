"""Test settings: the same examples every time, so that a failure in CI is a failure here."""

from hypothesis import settings

settings.register_profile("intnn", derandomize=True, deadline=None, database=None)
settings.load_profile("intnn")
