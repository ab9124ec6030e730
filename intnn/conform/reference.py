"""A device that is right: the reference interpreter behind the protocol."""

from __future__ import annotations

import numpy as np

from intnn.bounds import require_valid
from intnn.conform.device import Question
from intnn.conform.expected import answers
from intnn.conform.protocol import ARGUMENTS, LONG, OPERATIONS, SHORT, VERSION, parse_request, replies
from intnn.errors import IntnnError
from intnn.formats.native import network_hash
from intnn.model import Network


class Reference:
    """A device that answers as the specification does, in lines of at most ``line`` characters [protocol.device].

    ``net`` is to be valid: raises :class:`intnn.errors.ModelError` ``model.overflow``.
    """

    def __init__(self, net: Network, line: int = SHORT) -> None:
        assert SHORT <= line <= LONG
        self._layers = require_valid(net).layers
        self._net, self._line = net, line
        self._vector: list[int] = []

    def answer(self, text: str) -> list[str]:
        """The lines that answer the line ``text``: none where it is no request."""
        request = parse_request(text)
        if request is None:
            return []
        id, command, numbers = request
        if command not in ARGUMENTS:
            self._vector = []
            return [f"{id} skip"]
        try:
            if command == "hello":
                self._vector = []
            if numbers is None:
                raise ValueError("an integer is expected")
            count = ARGUMENTS[command]
            self._vector += numbers[count:]
            if len(self._vector) > max(self._net.sizes[:-1]):
                raise ValueError("too many values")
            if command == "x":
                return [f"{id} ok"]
            lines = self._carry_out(id, command, numbers[:count])
        except ValueError as error:
            lines = [f"{id} error {error}"]
        except IntnnError as error:  # an input out of range
            lines = [f"{id} error {error.found}"]
        self._vector = []
        return lines

    def _carry_out(self, id: int, command: str, arguments: tuple[int, ...]) -> list[str]:
        """Raises :class:`ValueError` or :class:`IntnnError` where arguments and vector do not suit the network."""
        if command == "hello":
            if self._vector:
                raise ValueError("hello takes no values")
            return [" ".join((str(id), VERSION, network_hash(self._net)[:16], str(self._line), *OPERATIONS))]
        layer, neuron, acc = (*arguments, 0, 0, 0)[:3]
        if len(arguments) < ARGUMENTS[command] or not 0 <= layer < len(self._layers):
            raise ValueError("no such layer")
        row = self._vector
        if command == "requantize":
            proof = self._layers[layer]
            if row or not 0 <= neuron < len(proof.acc_low):
                raise ValueError("no such neuron, or values too many")
            if not proof.acc_low[neuron] <= acc <= proof.acc_high[neuron]:
                raise ValueError("no accumulator of this neuron")
            row = [acc]
        question = Question(command, layer, neuron)
        if len(row) != question.size(self._net)[0]:
            raise ValueError(f"{question.size(self._net)[0]} values are expected")
        return replies(id, answers(self._net, question, np.array([row]))[0].tolist(), self._line)
