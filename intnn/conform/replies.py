"""What the host makes of a reply, be it heard or read in a log."""

from __future__ import annotations

from intnn.conform.device import Failure, Question
from intnn.conform.protocol import Reply
from intnn.errors import UsageError
from intnn.formats.native import network_hash
from intnn.model import TYPES, Network


def output_type(question: Question, net: Network) -> str:
    """The type of what ``question`` asks for: a key of :data:`intnn.model.TYPES`."""
    return net.layers[-1 if question.operation == "run" else question.layer].output.type


def unfit(reply: Reply, values: tuple[int, ...], expected: int, kind: str) -> Failure | None:
    """What keeps ``values``, which ``reply`` ends, from being ``expected`` values of type ``kind`` [protocol.reply];
    ``None`` if nothing does."""
    if reply.kind in ("skip", "error"):
        return Failure(reply.kind, reply.text)
    if reply.kind != "ok" or len(values) != expected:
        found = f"{len(values)} values" if reply.kind == "ok" else reply.kind
        return Failure("garbage", f"{found} where {expected} values are expected")
    low, high = TYPES[kind]
    wrong = [v for v in values if not low <= v <= high]
    return Failure("garbage", f"{wrong[0]}, which is no {kind}") if wrong else None


def require_model(hello: Reply, net: Network, device: str) -> None:
    """Raises :class:`UsageError` ``device.model`` where the device says that it holds another network."""
    right = network_hash(net)[:16]
    if hello.text not in ("-", right):
        found, expected = f"the device holds the model {hello.text}", f"{right}, the model it is compared with"
        raise UsageError("device.model", found, where=device, expected=expected, repair="take the same model for both")
