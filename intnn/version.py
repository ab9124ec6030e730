"""The versions: of this package, and of the specification it implements."""

__version__ = "0.1.0"
SPEC_VERSION = "1.0"
