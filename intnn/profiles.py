"""From real scales to a requantization, the way each engine does it (spec/90-foreign-profiles.md).

A profile is a rounding rule together with the derivation of its constants. Floats appear here because scales are
floats in the formats people have; what comes out for the profiles of :data:`INT32_PROFILES` is int32-only.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from intnn.errors import ModelError, UsageError
from intnn.foreign import FOREIGN, Foreign
from intnn.model import Q31, TYPES, Dense, Network, Scales

INT32_PROFILES = {  # name: rounding, and whether the per-tensor product of scales is rounded to float32
    "single": ("single", False),
    "double": ("double", False),
    "double-f32": ("double", True),
    "upup": ("upup", True),
    "reduced15": ("single", False),
}
PROFILES = (*INT32_PROFILES, *FOREIGN)
"""Names of all profiles; those of :data:`INT32_PROFILES` give int32-only networks."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """[foreign.quantize-multiplier] multiplier and exponent with ``real`` about ``multiplier * 2^(exponent-31)``.

    The fraction is rounded half away from zero to 31 bits; an exponent below -31 gives (0, 0). Raises
    :class:`ModelError` ``model.value`` for a ``real`` that is not positive and finite or needs an exponent above 30.
    """
    if not 0 < real < math.inf:
        raise ModelError("model.value", f"a real multiplier of {real}", expected="a positive, finite value")
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(math.ldexp(fraction, 31) + 0.5)  # fraction * 2^31 < 2^31 leaves room for the half: exact
    if multiplier == 1 << 31:
        multiplier, exponent = 1 << 30, exponent + 1
    if exponent < -31:
        return 0, 0
    if exponent > 30:
        raise ModelError("model.value", f"a real multiplier of {real}", expected="a value below 2^30")
    return multiplier, exponent


def real_multipliers(s: Scales, *, float32_product: bool) -> list[float]:
    """[foreign.real-multiplier] ``s_in * s_w / s_out`` in float64, one value or one an output.

    With ``float32_product`` the product of a per-tensor layer is rounded to float32 before the division.
    """
    if isinstance(s.weights, float):
        product = s.input * s.weights
        with np.errstate(over="ignore"):  # an infinite product is refused as a real multiplier
            return [(float(np.float32(product)) if float32_product else product) / s.output]
    return [s.input * float(w) / s.output for w in s.weights]


def requantization(profile: str, scales: Scales) -> Q31 | Foreign:
    """The requantization of a layer with real ``scales`` under ``profile`` (one of :data:`PROFILES`).

    Raises :class:`UsageError` ``usage.profile`` for an unknown name, :class:`ModelError` ``model.value`` where the
    scales lie outside what the profile can express.
    """
    require_profile(profile)
    if profile in FOREIGN:
        return Foreign(profile)
    rounding, float32_product = INT32_PROFILES[profile]
    reals = real_multipliers(scales, float32_product=float32_product)
    pairs = np.array([quantize_multiplier(real) for real in reals], np.int64)
    multiplier, exponent = pairs[:, 0], pairs[:, 1]
    if profile == "reduced15":
        multiplier = reduce_multiplier(multiplier)
    if isinstance(scales.weights, float):
        return Q31(int(multiplier[0]), int(exponent[0]), rounding)
    return Q31(multiplier, exponent, rounding)


def require_profile(profile: str) -> None:
    """Raises :class:`UsageError` ``usage.profile`` if there is no profile of that name."""
    if profile not in PROFILES:
        raise UsageError("usage.profile", f"no profile {profile!r}", expected="one of " + ", ".join(PROFILES))


def activation_bounds(profile: str, activation: str, type: str, zero_point: int, scale: float) -> tuple[int, int]:
    """[foreign.activation-bounds] the clamp of a layer with fused ``activation`` NONE, RELU or RELU6.

    NONE is the range of the ``type``; RELU begins at the zero point; RELU6 also ends at 6, quantized with one
    float32 division: ``zero_point + half_away(6 / scale)``, but ``half_even(6 / scale + zero_point)`` under fp32even.
    Raises :class:`ModelError` ``model.value`` for another activation.
    """
    low, high = TYPES[type]
    if activation == "NONE":
        return low, high
    if activation == "RELU":
        return zero_point, high
    if activation != "RELU6":
        raise ModelError("model.value", f"activation is {activation!r}", expected="one of NONE, RELU, RELU6")
    with np.errstate(over="ignore"):  # a tiny scale gives infinity; 2^20 is beyond every type's range, too
        six = min(np.float32(6) / np.float32(scale), np.float32(2**20))
    if profile == "fp32even":
        top = int(np.rint(six + np.float32(zero_point)))
    else:
        top = zero_point + math.floor(float(six) + 0.5)  # the sum is exact in float64
    return zero_point, min(high, top)


def reduce_multiplier(multiplier: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[foreign.reduced15] the multiplier rounded half up to its upper 15 bits, saturated, as engines do for int16."""
    upper: npt.NDArray[np.int64] = np.minimum((multiplier + (1 << 15)) >> 16, 0x7FFF)
    return upper << 16


def with_profile(net: Network, profile: str) -> Network:
    """The same network under another profile, derived from the real scales its layers carry.

    The clamps stay as they are [foreign.activation-bounds]. Raises as :func:`requantization`, and :class:`ModelError`
    ``model.value`` where a layer carries no scales, or its clamp is a ReLU6 bound that ``profile`` rounds differently.
    """
    require_profile(profile)
    return replace(net, layers=tuple(_convert(i, layer, profile) for i, layer in enumerate(net.layers)))


def _convert(index: int, layer: Dense, profile: str) -> Dense:
    """The layer under ``profile``; refused where its clamp looks like a ReLU6 that would be rounded otherwise."""
    if layer.scales is None:
        raise ModelError(
            "model.value",
            "no scales",
            where=f"layer {index}",
            expected=f"the real scales, from which {profile} is derived",
            repair="import the model again from the file that has them",
        )
    out = layer.output
    sixes = [activation_bounds(p, "RELU6", out.type, out.zero_point, layer.scales.output)[1] for p in PROFILES]
    if out.max in sixes and out.max != sixes[PROFILES.index(profile)] and out.max != TYPES[out.type][1]:
        raise ModelError(
            "model.value",
            f"max is {out.max}, a ReLU6 bound that {profile} rounds to {sixes[PROFILES.index(profile)]}",
            where=f"layer {index}",
            expected="a clamp that does not depend on the profile",
            repair=f"import the model again from its source with profile {profile}",
        )
    return replace(layer, requantize=requantization(profile, layer.scales))
