"""Which rounding an engine used, from its recorded outputs, how sure that is, and what would decide it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intnn import engines, profiles
from intnn.bounds import require_valid
from intnn.conform.beats import Beats, Rescale
from intnn.conform.device import Int64
from intnn.conform.diagnose import diagnose
from intnn.conform.faults import Fault, Mutants, catalogue
from intnn.conform.identification import Candidate, Deciding, Identification
from intnn.conform.pairs import agreement, work
from intnn.conform.separate import candidates, classes, deciding
from intnn.conform.steps import same_function
from intnn.conform.verdict import Diagnosis
from intnn.errors import ForeignModelError, InputError, ModelError
from intnn.formats import native, tflite
from intnn.formats.flatbuffer import is_tflite
from intnn.model import TYPES, Network

ENGINES = {
    "single": "TOSA SINGLE_ROUND, CMSIS-NN with single rounding",
    "double": "TensorFlow Lite for Microcontrollers, CMSIS-NN",
    "double-f32": "older TensorFlow Lite for Microcontrollers",
    "upup": "LiteRT without delegate on x86-64",
    "reduced15": "TensorFlow Lite for Microcontrollers with int16 activations",
    "f64away": "LiteRT BUILTIN_REF",
    "fp32even": "LiteRT with XNNPACK, onnxruntime",
    "rndnu": "XNNPACK on NEON with uint8",
    "trunc0": "TinyEngine",
    "microflow": "microflow-rs",
}
"""Which engines round like a profile; the annex of the specification says on what ground."""

_MOST_DECIDING = 8
_MOST_WORK = 1 << 27  # of rows that are diagnosed, about in multiply-accumulates


def identify(model: str | Path | Network, x: npt.ArrayLike, y: npt.ArrayLike) -> Identification:
    """The rounding with which an engine that runs ``model`` gave ``y`` for ``x``.

    ``model`` is a network, or the path of a model file or a TFLite file. Tried are all profiles, imported anew from
    a TFLite file and otherwise derived from the scales; for a model without scales, the roundings of the annex and
    those of firmware (see :mod:`intnn.conform.fault_models`). ``x`` holds integers (batch, inputs) within the declared
    range and ``y`` integers (batch, outputs) of the output's type; single vectors will do.

    Raises :class:`InputError` ``input.type``, ``input.shape`` or ``input.range`` for what is wrong with ``x`` or ``y``,
    and what reading the model raises: ``file.*``, ``tflite.*``, ``model.*``.
    """
    name = model.name or "the network" if isinstance(model, Network) else str(model)
    found = _networks(model)
    net, hypotheses = _hypotheses(found)
    rows, right = _rows_of(net, x, y)
    mutants = Mutants(net, rows)
    scored = []
    for label, text, h in hypotheses:
        matched, elements = agreement(mutants.outputs(h), right)
        scored.append((Candidate(label, text, matched, elements), h))
    scored.sort(key=lambda pair: (-pair[0].rows, -pair[0].elements))  # stable: as listed, where equal
    best = [c for c, _ in scored]
    fitting = sum(c.rows == len(rows) for c in best)
    refuting = len(rows) - best[fitting].rows if fitting < len(best) else None
    winners = {c.name: h for c, h in scored[:fitting]}
    same = _same_groups(net, winners)
    decide, searched = _decide(net, winners, same) if fitting > 1 else ((), 0)
    diagnoses = () if fitting else _further_faults(found, [c.name for c in best], rows, right)
    verdict = (tuple(best), fitting, refuting, decide, searched, same)
    return Identification(name, len(rows), right.size, *verdict, tuple(found.unavailable.items()), diagnoses)


@dataclass
class _Found:
    """The networks that a model is under each profile, or just the model, and why it is not one under the others."""

    networks: dict[str, Network]
    unavailable: dict[str, str]


def _networks(model: str | Path | Network) -> _Found:
    if isinstance(model, Network):
        require_valid(model)
        return _under_profiles(model)
    data = native.read_bytes(str(model))
    if not is_tflite(data):
        net = native.read(data, where=str(model))
        require_valid(net)
        return _under_profiles(net)
    return _each(lambda profile: tflite.import_tflite(model, profile=profile), {})


def _under_profiles(net: Network) -> _Found:
    """All profiles of a network with scales, and the network itself if it is none of them."""
    if any(layer.scales is None for layer in net.layers):
        return _Found({"as specified": net}, {})
    found = _each(lambda profile: profiles.with_profile(net, profile), {"as specified": net})
    own = native.dumps(net)
    if any(native.dumps(other) == own for name, other in found.networks.items() if name != "as specified"):
        del found.networks["as specified"]
    return found


def _each(under: Callable[[str], Network], networks: dict[str, Network]) -> _Found:
    """Every profile that can be had; raises what the first raised if none can."""
    found = _Found(networks, {})
    first: ModelError | ForeignModelError | None = None
    for profile in profiles.PROFILES:
        try:
            net = under(profile)
            require_valid(net)
            found.networks[profile] = net
        except (ModelError, ForeignModelError) as error:
            first = first or error
            found.unavailable[profile] = error.found
    if not found.networks and first is not None:
        raise first
    return found


def _hypotheses(found: _Found) -> tuple[Network, list[tuple[str, str, tuple[Fault, ...]]]]:
    """A network, and each candidate's name, text and faults in it."""
    (name, net), *others = found.networks.items()
    listed: list[tuple[str, str, tuple[Fault, ...]]] = [(name, ENGINES.get(name, "the model's own rule"), ())]
    for other, under in others:
        listed.append((other, ENGINES[other], (_profile(net, other, under),)))
    if not others and not found.unavailable:  # without scales
        whole = [
            f
            for f in catalogue(net)
            if f.id.startswith("rounding.") and f.layer == (0 if len(net.layers) == 1 else None)
        ]
        listed += [(f.id, f.text, (f,)) for f in whole]
    return net, listed


def _further_faults(
    found: _Found, names: Sequence[str], rows: Int64, right: Int64
) -> tuple[tuple[str, Diagnosis], ...]:
    """Of each candidate that has a network of its own which single fault beside it explains the rows; or where none
    does, two faults beside the candidate that comes closest."""
    own = [name for name in names if name in found.networks]
    few = slice(max(32, _MOST_WORK // work(found.networks[own[0]])))
    single = [(name, diagnose(found.networks[name], rows[few], right[few], _silent, pairs=False)) for name in own]
    if any(d.tied for _, d in single):
        return tuple((name, d) for name, d in single if d.tied)
    return ((own[0], diagnose(found.networks[own[0]], rows[few], right[few], _silent)),)


def _profile(net: Network, name: str, under: Network) -> Fault:
    """``under``, which is ``net`` with another rounding, as a fault of ``net``."""
    places = {id(layer): k for k, layer in enumerate(net.layers)}

    def change(b: Beats) -> Beats:
        layer = under.layers[places[id(b.layer)]]
        return replace(b, rescale=Rescale.of(layer), low=layer.output.min, high=layer.output.max)

    return Fault(f"profile.{name}@*", f"every layer rounds like profile {name}", "requantize", None, change)


def _rows_of(net: Network, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Int64, Int64]:
    """The recorded inputs and outputs as rows, checked."""
    rows, single = engines.batch(net, x)
    try:
        right = np.asarray(y)
    except (ValueError, OverflowError):
        raise InputError(
            "input.type", "not a rectangular array", where="recorded outputs", expected="integers"
        ) from None
    if right.dtype.kind not in "iu":
        raise InputError("input.type", f"an array of {right.dtype}", where="recorded outputs", expected="integers")
    right = right[None, :] if single and right.ndim == 1 else right
    shape = (len(rows), net.sizes[-1])
    if right.shape != shape or not len(rows):
        raise InputError(
            "input.shape",
            f"shape {right.shape} for inputs of shape {rows.shape}",
            where="recorded outputs",
            expected=f"({max(1, len(rows))}, {net.sizes[-1]}): a row of {net.sizes[-1]} outputs for each input",
        )
    low, high = TYPES[net.output.type]
    if right.min() < low or right.max() > high:
        at = tuple(int(i) for i in np.argwhere((right < low) | (right > high))[0])
        place = "recorded outputs" + "".join(f"[{i}]" for i in at)
        raise InputError(
            "input.range", f"{right[at]}", where=place, expected=f"an {net.output.type} in [{low}, {high}]"
        )
    return rows.astype(np.int64), right.astype(np.int64)


def _same_groups(net: Network, winners: dict[str, tuple[Fault, ...]]) -> tuple[tuple[str, ...], ...]:
    """Groups of two and more that are proved to be the same function."""
    groups: list[list[str]] = []
    for name, h in winners.items():
        for group in groups:
            if same_function(net, winners[group[0]], h):
                group.append(name)
                break
        else:
            groups.append([name])
    return tuple(tuple(group) for group in groups if len(group) > 1)


def _decide(
    net: Network, winners: dict[str, tuple[Fault, ...]], same: Sequence[Sequence[str]]
) -> tuple[tuple[Deciding, ...], int]:
    """Inputs that tell apart all that can be, one of each group that is proved the same standing for it."""
    copies = {name for group in same for name in group[1:]}
    names = [name for name in winners if name not in copies]
    if len(names) < 2:
        return (), 0
    chosen = np.zeros((0, net.sizes[0]), np.int64)
    searched = 0
    parts = [names]
    unsplit = [winners[name] for name in names]
    for batch in candidates(net, None, unsplit):
        searched += len(batch)
        for part in parts:
            room = _MOST_DECIDING - len(chosen)
            if len(part) > 1 and room > 0:
                chosen = np.concatenate([chosen, deciding(net, [winners[n] for n in part], batch, room)])
        parts = classes(names, net, [winners[n] for n in names], chosen)
        unsplit[:] = next(([winners[n] for n in part] for part in parts if len(part) > 1), [])
        if not unsplit:
            break
    mutants = Mutants(net, chosen)
    answers = {name: mutants.outputs(h) for name, h in winners.items()}
    return tuple(
        Deciding(tuple(map(int, x)), tuple((name, tuple(map(int, y[k]))) for name, y in answers.items()))
        for k, x in enumerate(chosen)
    ), searched


def _silent(rows: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """A recording answers no questions."""
    return rows, np.zeros(len(rows), np.bool_)
