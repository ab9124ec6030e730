"""What went wrong, with a stable code, the place and the repair.

Every error a user can cause is an :class:`IntnnError`. Its text has up to four parts, each on a
line of its own: what was found and where, what was expected, and how to repair it. The codes are
promises: scripts may match on ``error.code``.
"""

from __future__ import annotations

CODES: dict[str, str] = {
    "contract.int32": "an operation's result leaves int32",
    "contract.operand": "an operand lies outside the range its clause states",
    "model.value": "a model parameter has the wrong type, shape or range",
    "model.chain": "a layer's input count is not the previous layer's output count",
    "model.overflow": "some input in the declared range drives a value of the layer out of int32",
    "model.host-only": "the operation needs an int32-only model, but a layer uses a foreign profile",
    "quantize.range": "the samples give a vector no range to be quantized in",
    "quantize.overflow": "no integers of the scheme keep a layer within int32",
    "quantize.budget": "no scheme fits the budget",
    "train.data": "the data cannot be learnt from",
    "train.diverged": "the loss of a training is no longer finite",
    "train.state": "the saved state belongs to another training",
    "input.type": "the input is not an array of integers",
    "input.shape": "the input's shape does not fit the network",
    "input.range": "an input value lies outside the declared range",
    "input.value": "an input value or target is NaN or infinite",
    "file.read": "a file cannot be read",
    "file.write": "a file cannot be written",
    "file.syntax": "the file is not JSON of the permitted kind",
    "file.field": "a member of the file is missing, unknown or of the wrong kind",
    "file.version": "the file's format or version is not one this program knows",
    "file.hash": "the file's content does not match the hash it carries",
    "file.log": "the file holds no exchange with a device",
    "file.array": "the file is not a NumPy .npy array of numbers",
    "tflite.file": "the file is not a readable TFLite flatbuffer",
    "tflite.operator": "the TFLite model uses an operator that is not supported",
    "tflite.field": "a field of the TFLite model has a value that is not supported",
    "weights.file": "the file or object holds no chain of dense layers",
    "weights.layer": "a layer, an activation or a member of float weights is not supported",
    "onnx.file": "the file is not a readable ONNX model",
    "onnx.operator": "the ONNX model uses an operator that is not supported",
    "onnx.field": "a field of the ONNX model has a value that is not supported",
    "golden.missing": "a golden file, or the folder, is not there",
    "golden.mismatch": "golden vectors and implementation disagree",
    "emit.prefix": "the prefix cannot begin the names of emitted C",
    "c.wrong": "the C does not compute the network: an input shows it",
    "c.unproved": "the C could be neither proved nor shown to be wrong",
    "c.subset": "the C is not in the subset that can be verified",
    "c.trap": "C gives an input no meaning: undefined or implementation-defined behaviour",
    "target.budget": "the firmware needs more than the budget gives",
    "target.mismatch": "compiled C computes other outputs than the specification",
    "usage.engine": "no such engine",
    "usage.profile": "no such profile",
    "usage.scheme": "no such choice of quantization",
    "usage.option": "the command line cannot be carried out as given",
    "usage.target": "no such target",
    "usage.compiler": "no such compiler, or it is not installed",
    "usage.budget": "a budget is not two sizes such as 32k,16k",
    "target.compile": "a compiler does not accept the C",
    "target.run": "compiled C does not run to its end",
    "target.instruction": "compiled C has an instruction without a known timing",
    "device.start": "the device cannot be started",
    "device.model": "the device holds another network",
    "usage.fault": "no such fault of this network",
    "usage.extra": "an optional dependency is not installed",
}


class IntnnError(Exception):
    """An error with a stable ``code`` (a key of :data:`CODES`).

    ``found`` says what was found, ``where`` the place (file, layer, neuron, member), ``expected``
    what would have been right, and ``repair`` what the user can do.
    """

    def __init__(self, code: str, found: str, *, where: str = "", expected: str = "", repair: str = "") -> None:
        assert code in CODES, f"unregistered error code {code}"
        self.code = code
        self.found = found
        self.where = where
        self.expected = expected
        self.repair = repair
        super().__init__(code, found)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.found}" if self.where else self.found]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.repair:
            lines.append(f"  repair:   {self.repair}")
        return "\n".join(lines)

    def within(self, place: str) -> IntnnError:
        """The same error with ``place`` put before its location (a file name, a layer)."""
        self.where = f"{place}: {self.where}" if self.where else place
        return self


class ContractError(IntnnError):
    """A value left int32 or an operand its stated range [conventions.contract].

    ``index`` is the position of the first offending element where arrays are checked.
    """

    index: tuple[int, ...] = ()


class ModelError(IntnnError):
    """A network that the specification rejects."""


class InputError(IntnnError):
    """Input data that does not fit the network."""


class FileError(IntnnError):
    """A file that cannot be read, parsed or trusted."""


class ForeignModelError(IntnnError):
    """A foreign model that cannot be imported without changing what it computes."""


class UsageError(IntnnError):
    """A request that cannot be carried out as given."""
