"""How engines outside this specification requantize: spec/90-foreign-profiles.md (informative).

These rules need float or 64-bit arithmetic, run on the host, and exist so that an engine's outputs can be reproduced
bit for bit. They are *not* int32-only. Each float operation is one IEEE 754 operation of the stated width, in the
stated order; that is part of the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from intnn.errors import ModelError
from intnn.model import Dense, HostRule, Scales

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

_FAR = 1 << 24  # beyond every output type's range; results saturate here so that the zero point can be added in int32


@dataclass(frozen=True, eq=False)
class Foreign(HostRule):
    """The foreign profile named ``profile``, a key of :data:`FOREIGN`; it reads the layer's real scales.

    Raises :class:`ModelError` ``model.value`` for an unknown name, a layer without scales, or scales outside the
    profile's domain.
    """

    profile: str

    def __post_init__(self) -> None:
        if self.profile not in [*FOREIGN]:
            raise ModelError("model.value", f"profile is {self.profile!r}", expected="one of " + ", ".join(FOREIGN))

    def validate(self, layer: Dense) -> None:
        """See :class:`HostRule`: the layer needs scales, within the profile's domain."""
        if layer.scales is None:
            raise ModelError("model.value", "no scales", expected=f"the real scales, which {self.profile} needs")
        scale = fp32_scale(layer.scales)
        if not np.all((scale >= 2.0**-32) & (scale < 256.0)):  # where the engines define it; NaN and infinity fail too
            raise ModelError(
                "model.value",
                f"input scale * weight scale / output scale is {np.atleast_1d(scale).min()}",
                expected=f"a value within [2^-32, 256) for {self.profile}",
            )

    def rescale(self, acc: Ints, layer: Dense) -> npt.NDArray[np.int32]:
        """See :class:`HostRule`; saturated to +-2^24, far outside every output type."""
        v = FOREIGN[self.profile](np.asarray(acc), _scales(layer), layer)
        return np.clip(v, -_FAR, _FAR).astype(np.int32)

    def real_scale(self, layer: Dense) -> npt.NDArray[np.float64]:
        """See :class:`HostRule`."""
        return fp32_scale(_scales(layer)).astype(np.float64)


def _scales(layer: Dense) -> Scales:
    assert layer.scales is not None, "a layer with a foreign rule was validated when it was made"
    return layer.scales


def fp32_scale(s: Scales) -> Floats:
    """``(s_in * s_w) / s_out`` in float32; scalar or (outputs,)."""
    with np.errstate(over="ignore", under="ignore"):  # the result is range-checked by the caller
        return (np.float32(s.input) * np.asarray(s.weights, np.float32)) / np.float32(s.output)


def f64away(acc: Ints, s: Scales, _: Dense) -> Ints | Floats:
    """[foreign.f64away] ``acc * (s_in * s_w / s_out)`` in float64; nearest, ties away from zero."""
    return _round_half_away(acc.astype(np.float64) * (s.input * np.asarray(s.weights) / s.output))


def fp32even(acc: Ints, s: Scales, _: Dense) -> Ints | Floats:
    """[foreign.fp32even] ``float32(acc) * scale`` in float32; nearest, ties to even."""
    return np.rint(acc.astype(np.float32) * fp32_scale(s))


def rndnu(acc: Ints, s: Scales, _: Dense) -> Ints | Floats:
    """[foreign.rndnu] ``floor(acc * mantissa * 2^-shift + 1/2)`` with the 24-bit mantissa of the float32 scale."""
    fraction, exponent = np.frexp(fp32_scale(s))  # scale = fraction * 2^exponent, fraction in [1/2, 1)
    mantissa = np.ldexp(fraction.astype(np.float64), 24).astype(np.int64)
    shift = 24 - exponent.astype(np.int64)  # in [16, 55]: the product and the rounding constant fit int64
    return (acc.astype(np.int64) * mantissa + (np.int64(1) << (shift - 1))) >> shift


def trunc0(acc: Ints, s: Scales, _: Dense) -> Ints | Floats:
    """[foreign.trunc0] ``float32(acc) * scale`` in float32, its fraction dropped."""
    return np.trunc(acc.astype(np.float32) * fp32_scale(s))


def microflow(acc: Ints, s: Scales, layer: Dense) -> Ints | Floats:
    """[foreign.microflow] zero point, bias and products scaled and added in float32, the sum rounded half away."""
    product = np.float32(s.input) * np.asarray(s.weights, np.float32)
    bias = (product / np.float32(s.output)) * layer.bias.astype(np.float32)
    products = (acc.astype(np.int64) - layer.bias).astype(np.float32)
    zero = layer.output.zero_point
    return _round_half_away(np.float32(zero) + bias + fp32_scale(s) * products) - zero


FOREIGN: dict[str, Callable[[Ints, Scales, Dense], Ints | Floats]] = {
    "f64away": f64away,
    "fp32even": fp32even,
    "rndnu": rndnu,
    "trunc0": trunc0,
    "microflow": microflow,
}


def _round_half_away(v: Floats) -> Floats:
    """C's ``round``: exact, unlike ``floor(v + 0.5)``, for ``v - trunc(v)`` has no rounding error."""
    whole = np.trunc(v)
    return whole + np.where(np.abs(v - whole) >= 0.5, np.copysign(np.asarray(1, v.dtype), v), np.asarray(0, v.dtype))
