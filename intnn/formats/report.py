"""What an import says of each field: how its value came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from intnn.floats.network import FloatNetwork
from intnn.model import Network

Net = TypeVar("Net", Network, FloatNetwork)


@dataclass(frozen=True)
class Line:
    """One line of the report: ``how`` is ``exact`` (copied bit for bit), ``re-derived`` (computed from what is there,
    as the text says), ``approximated`` (rounded, with the largest error), ``passed over`` (an operator or a member
    without effect on the network's numbers) or ``note``."""

    where: str
    how: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.how}: {self.text}"


@dataclass(frozen=True, eq=False)
class Import(Generic[Net]):
    """An imported network and the report of how each of its fields came about."""

    network: Net
    report: tuple[Line, ...]
