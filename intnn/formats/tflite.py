"""TFLite import (stub to be replaced)."""


def import_tflite(path, *, profile):
    raise NotImplementedError
