"""From samples to ranges: where a vector is clipped, and what one step of its integers is worth."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from intnn.errors import InputError
from intnn.floats.network import Floats
from intnn.model import TYPES, Activation

SCALE_BITS = 12
"""Significant bits of activation scales: exact in float32, and the last bits of a float, which differ from processor to
processor, do not reach them."""

MOST = 1 << 13
"""Order statistics that stand for the samples where the squared error is searched."""


def span(values: Floats, method: str, levels: int) -> tuple[float, float]:
    """The range (low, high), 0 within it, in which ``values`` are to be quantized with ``levels`` steps.

    ``method`` is ``min-max``, ``percentile`` (99.9 % of the values below the upper end, and above the lower) or
    ``squared-error``.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if method == "percentile":
        ends = np.quantile(values, [0.001, 0.999])
        # What is clipped is a tail; where everything but the tail is 0 there is none.
        low, high = (min(float(ends[0]), 0.0), max(float(ends[1]), 0.0)) if ends[0] < 0 or ends[1] > 0 else (low, high)
    if method == "squared-error":
        shrink = _least_error(values, low, high, levels)
        low, high = low * shrink, high * shrink
    return low, high


def _least_error(values: Floats, low: float, high: float, levels: int) -> float:
    """The part of [low, high] that gives the least squared error, clipping and rounding together."""
    ordered = np.sort(values, axis=None)
    if len(ordered) > MOST:
        ordered = ordered[np.linspace(0, len(ordered) - 1, MOST).astype(np.int64)]
    best, least = 1.0, math.inf
    for part in np.linspace(1.0, 0.2, 81):
        step = (high - low) * part / levels
        rounded = np.clip(np.rint(ordered / step) * step, low * part, high * part) if step > 0 else 0.0
        error = float(np.sum((rounded - ordered) ** 2))
        if error < least:
            best, least = float(part), error
    return best


def activation(
    type: str,
    values: Floats,
    method: str,
    *,
    relu: bool,
    top: float,
    place: str,
    finest: Floats | None = None,
) -> tuple[Activation, float]:
    """How a vector of real ``values`` (batch, n) is kept: its activation and the worth of one step.

    With ``relu`` the clamp begins at the zero point; ``top`` is the upper clamp, as a real value, or infinite. The zero
    point is the type's least value with ReLU on 8 bits, 0 for int16, else what makes use of the whole type; int16 is no
    finer than the accumulator's steps ``finest`` (outputs,). Raises
    :class:`InputError` ``quantize.range`` where all values are 0.
    """
    least, most = TYPES[type]
    levels = most if type == "int16" else most - least - (0 if relu else 1)  # one step is left for the zero point
    low, high = span(values, method, levels)
    if low == high:
        raise InputError(
            "quantize.range",
            "every value is 0 on every sample",
            where=place,
            expected="samples on which the vector varies",
            repair="more samples, or a network that has learnt something",
        )
    if relu:
        low = 0.0
    scale = round_up((max(-low, high) if type == "int16" else high - low) / levels)
    scale = scale if finest is None else no_finer(type, scale, finest)
    require_scale(scale, values, place)
    zero = 0 if type == "int16" else least if relu else least + math.ceil(-low / scale)
    upper = most if math.isinf(top) else min(most, zero + int(np.rint(top / scale)))
    return Activation(type, zero, zero if relu else least, max(upper, zero)), scale


def no_finer(type: str, scale: float, step: Floats) -> float:
    """``scale``, but for 16 bits no finer than the accumulator's ``step``, which bounds what an output can tell."""
    return max(scale, round_up(float(step.max()))) if type == "int16" else scale


def require_scale(scale: float, values: Floats, place: str) -> None:
    """Raises :class:`InputError` ``quantize.range`` for a scale that float32 could not keep beside the others."""
    if not 2.0**-40 <= scale <= 2.0**40:
        raise InputError(
            "quantize.range",
            f"values within [{values.min():.3g}, {values.max():.3g}], so that a step is worth {scale:.3g}",
            where=place,
            expected="steps within 2^-40 and 2^40",
            repair="another unit for the network's input or output",
        )


def integer_samples(x: npt.NDArray[np.generic], declared: tuple[int, int] | None, place: str = "input") -> Activation:
    """The input of a network that takes integers, such as counts of an ADC, as they are: scale 1, zero point 0.

    Its range is ``declared`` (low, high), else the least of whole bits that holds every sample. Raises
    :class:`InputError` ``quantize.range`` where no type holds the range, or samples lie outside the declared one.
    """
    least, most = int(np.min(x)), int(np.max(x))  # Python's integers hold uint64, too
    bits = max(most.bit_length(), (-least - 1).bit_length() if least < 0 else 0)
    low, high = declared or (-(1 << bits) if least < 0 else 0, (1 << bits) - 1)
    if least < low or most > high:
        raise InputError(
            "quantize.range",
            f"samples within [{least}, {most}]",
            where=place,
            expected=f"within the declared range [{low}, {high}]",
            repair="another --input-range, or samples of the sensor that is meant",
        )
    for type in ("int8", "uint8", "int16"):
        if TYPES[type][0] <= low <= high <= TYPES[type][1]:
            return Activation(type, 0, low, high)
    raise InputError(
        "quantize.range",
        f"integers within [{low}, {high}]",
        where=place,
        expected="a range that int8, uint8 or int16 holds",
        repair="shift the samples right in firmware, or give them as floats to have them quantized",
    )


def round_up(scale: float) -> float:
    """The least float of :data:`SCALE_BITS` significant bits that is not below ``scale``."""
    fraction, exponent = math.frexp(scale)
    return math.ldexp(math.ceil(math.ldexp(fraction, SCALE_BITS)), exponent - SCALE_BITS)
