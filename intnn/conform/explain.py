"""A failure step by step: what the specification computes on the smallest input, and where the device differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intnn import engines
from intnn.arithmetic import INT32_MAX, INT32_MIN
from intnn.conform import derivation, faults
from intnn.conform.beats import Beats
from intnn.conform.report import words
from intnn.conform.verdict import Explanation, Mismatch, Report
from intnn.errors import FileError, UsageError
from intnn.formats.native import network_hash
from intnn.model import Network


def explain(net: Network, report: Report) -> str:
    """The arithmetic of ``report``'s smallest failing input, layer by layer, for the first neuron that differs.

    Each line reads ``expression = value``; see :mod:`intnn.conform.derivation` for the notation. Beside it stands what
    the device gave, and, where an explanation fits everything, the same steps under it where they differ.

    Raises :class:`UsageError` ``usage.option`` for a report without a mismatch; :class:`FileError` ``file.hash`` for
    one of another network, ``file.field`` where its numbers are not those of the network.
    """
    if network_hash(net) != report.sha256:
        raise FileError("file.hash", f"the report is of the model {report.sha256[:80]}", expected=network_hash(net))
    mismatch = report.mismatch
    if mismatch is None:
        raise UsageError(
            "usage.option",
            "nothing to explain: the report has no mismatch",
            expected="what intnn conform -o wrote of an implementation that differs",
        )
    best = _best(report)
    wrong = () if best is None else tuple(faults.parse(net, name) for name in best.faults)
    story = _Story(net, report, mismatch, faults.specified(net), best, faults.mutant(net, wrong) if wrong else None)
    return "\n".join(story.lines()) + "\n"


def _best(report: Report) -> Explanation | None:
    """The best explanation, if it explains everything by some fault."""
    if report.diagnosis is None or not report.diagnosis.explanations:
        return None
    best = report.diagnosis.explanations[0]
    return best if best.complete and best.faults else None


class _Story:
    """The explanation of one mismatch; ``faulty`` are the layers under the ``best`` explanation, if there is one."""

    def __init__(
        self,
        net: Network,
        report: Report,
        mismatch: Mismatch,
        right: Sequence[Beats],
        best: Explanation | None,
        faulty: Sequence[Beats] | None,
    ) -> None:
        self.net, self.report, self.mismatch = net, report, mismatch
        self.right, self.best, self.faulty = right, best, faulty

    def lines(self) -> list[str]:
        m = self.mismatch
        device = words.printable(self.report.device)
        head = [f"{device} against {words.printable(self.report.model)}: {words.differences(m)}"]
        head += [f"  smallest {words.asked(m)}: {words.vector(m.x, 64)}"]
        if m.operation == "requantize":
            return [*head, *self._requantize()]
        if m.operation == "dense":
            x = self._checked(Network(self.net.inputs[m.layer], (self.net.layers[m.layer],)), m.x, 0, m.expected)
            return [*head, *self._layer(m.layer, x, _differing(m), list(m.got))]
        return [*head, *self._run()]

    def _requantize(self) -> list[str]:
        m = self.mismatch
        if not INT32_MIN <= m.x[0] <= INT32_MAX:
            raise _other(f"the accumulator {m.x[0]}", "one within int32")
        proof = derivation.finish(self.right[m.layer], m.x[0], m.neuron)
        if proof[-1].value != m.expected[0]:
            raise _other(words.vector(m.expected), f"[{proof[-1].value}]")
        lines = ["", f"layer {m.layer}, neuron {m.neuron}: requantize {m.x[0]} alone"]
        lines += self._exactly(m.layer, m.x[0], m.neuron)
        lines += [f"  {step}" for step in proof]
        if self.faulty is not None:
            lines += self._differences(proof, derivation.finish(self.faulty[m.layer], m.x[0], m.neuron))
        return [*lines, f"  the device gave     {m.got[0]}"]

    def _run(self) -> list[str]:
        m, net = self.mismatch, self.net
        last = m.layer if m.operation == "layer" else len(net.layers) - 1
        x = self._checked(net, m.x, last, m.expected)
        where = m.location
        layer, neuron = (where.layer, where.neuron) if where is not None else (last, _differing(m))
        if layer > last:
            raise _other(f"the first difference in layer {layer}", f"one in layer {last} or before")
        trace = engines.trace(net, x)
        wrong = None
        if self.faulty is not None:
            wrong, y = [], np.array([x], np.int64)
            for beats in self.faulty:
                y = faults.execute(beats, y)[1].astype(np.int64)
                wrong.append(y[0].tolist())
        lines = []
        for k in range(layer):
            x = trace[k].output.tolist()
            lines += ["", f"layer {k}: outputs {words.vector(x, 64)}"]
        shown = list(m.got) if layer == last else None
        lines += self._layer(layer, x, neuron, shown, "" if where else "; where it diverges is not known")
        for k in range(layer + 1, last + 1):
            lines += ["", f"layer {k}: outputs", f"  expected            {words.vector(trace[k].output.tolist(), 64)}"]
            if wrong is not None and self.best is not None:
                lines.append(f"  by the diagnosis    {words.vector(wrong[k], 64)}")
            if k == last:
                lines.append(f"  the device gave     {words.vector(m.got, 64)}")
        return lines

    def _layer(self, k: int, x: Sequence[int], neuron: int, got: list[int] | None, note: str = "") -> list[str]:
        """The arithmetic of one neuron on its layer's input ``x``; ``got`` are the layer's outputs, if shown."""
        proof = derivation.derive(self.right[k], x, neuron)
        zero = self.net.inputs[k].zero_point
        lines = ["", f"layer {k}, neuron {neuron}: zero point of the input {zero}{note}"]
        acc = next(int(step.value) for step in proof if step.label == "acc, with bias")
        at = [step.label for step in proof].index("acc, with bias") + 1
        lines += [f"  {step}" for step in proof[:at]]
        lines += self._exactly(k, acc, neuron)
        lines += [f"  {step}" for step in proof[at:]]
        lines.append(f"  expected            {proof[-1].value}")
        if self.faulty is not None:
            lines += self._differences(proof, derivation.derive(self.faulty[k], x, neuron))
        where = self.mismatch.location
        seen = got[neuron] if got is not None else where.got if where is not None and where.observed else None
        return [*lines, f"  the device gave     {'(it does not show this layer)' if seen is None else seen}"]

    def _exactly(self, k: int, acc: int, neuron: int) -> list[str]:
        """The real number that requantization rounds, as far as the rule has one."""
        rescale = self.right[k].rescale
        if rescale.family == "real":
            return []
        value = derivation.exactly(rescale, acc, neuron)
        tie = ", a tie" if value.denominator == 2 else ""
        decimals = f"{float(value):.6f}".rstrip("0").rstrip(".")
        about = "exactly" if value.denominator in (1, 2) else "about"
        return [f"  without rounding, acc * multiplier / 2**shift is {about} {decimals}{tie}"]

    def _differences(self, right: list[derivation.Step], wrong: list[derivation.Step]) -> list[str]:
        """The steps under the best explanation that are not steps of the specification."""
        assert self.best is not None
        lines = [f"  {words.hypothesis(self.best)}:"]
        differ = [step for step in wrong if step not in right]
        lines += [f"    {step}" for step in differ]
        return [*lines, f"    so the output is  {wrong[-1].value}"]

    def _checked(self, net: Network, row: Sequence[int], last: int, expected: Sequence[int]) -> list[int]:
        """``row``, if it is an input of ``net`` and ``expected`` what the specification gives in layer ``last``."""
        right = engines.trace(net, np.array(row, np.int64))[last].output.tolist()
        if right != list(expected):
            raise _other(words.vector(expected), words.vector(right))
        return list(row)


def _differing(mismatch: Mismatch) -> int:
    pairs = zip(mismatch.expected, mismatch.got, strict=False)
    return next((o for o, (e, g) in enumerate(pairs) if e != g), 0)


def _other(found: str, expected: str) -> FileError:
    return FileError("file.field", found, where="mismatch", expected=f"{expected}, as the network has it")
