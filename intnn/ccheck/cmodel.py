"""C's integer types on three data models, and the rules that pick an operator's type (C99 6.3.1, 6.4.4.1)."""

from __future__ import annotations

from typing import NamedTuple


class IntType(NamedTuple):
    """An integer type: its width and signedness decide all that the subset can observe of it."""

    bits: int
    signed: bool

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    def holds(self, other: IntType) -> bool:
        """Whether every value of ``other`` is one of this type."""
        return self.low <= other.low and other.high <= self.high

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits}"


class DataModel(NamedTuple):
    """Widths of ``int`` and ``long``; the others are the same on every machine in view.

    With ``usual``, what C leaves to the implementation is as the compilers for all these machines define it: ``>>`` of
    a negative value is arithmetic, and a conversion to a signed type that cannot hold the value wraps (C99 6.5.7,
    6.3.1.3). Otherwise both trap.
    """

    name: str
    int_bits: int
    long_bits: int
    usual: bool = False

    @property
    def int_type(self) -> IntType:
        return IntType(self.int_bits, True)

    def named(self, name: str) -> IntType | None:
        """The type a name such as ``int16_t`` or ``unsigned long`` stands for; ``None`` if it is not in the subset."""
        if name in FIXED:
            return FIXED[name]
        words = name.split()
        if len({*words}) < len(words) or {"signed", "unsigned"} <= {*words}:
            return None
        base = [word for word in words if word not in ("signed", "unsigned")]
        signed = "unsigned" not in words
        match base:
            case [] | ["int"]:
                return IntType(self.int_bits, signed)
            case ["long"] | ["long", "int"] if self.long_bits == 32:
                return IntType(self.long_bits, signed)
            case ["short"] | ["short", "int"]:
                return IntType(16, signed)
            case ["char"] if len(words) == 2:  # plain char: the signedness is the implementation's
                return IntType(8, signed)
        return None

    def constant(self, text: str) -> tuple[int, IntType] | None:
        """Value and type of an integer constant, ``None`` where it is none or no type of the subset holds it."""
        digits = text.rstrip("uUlL")
        suffix = text[len(digits) :].lower()
        if suffix not in ("", "u", "l", "ul", "lu"):
            return None
        try:
            octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
            value = int(digits, 8) if octal else int(digits, 0)
        except ValueError:
            return None
        decimal = digits[0] != "0"
        for bits in [self.int_bits] * ("l" not in suffix) + [32] * (self.long_bits == 32):
            for signed in (True, False):
                allowed = "u" not in suffix if signed else "u" in suffix or not decimal
                if allowed and value <= IntType(bits, signed).high:
                    return value, IntType(bits, signed)
        return None

    def promoted(self, t: IntType) -> IntType:
        """The type of ``t`` after the integer promotions."""
        return self.int_type if self.int_type.holds(t) else max(t, IntType(self.int_bits, t.signed))

    def common(self, a: IntType, b: IntType) -> IntType:
        """The type of both operands after the usual arithmetic conversions."""
        a, b = self.promoted(a), self.promoted(b)
        if a.signed == b.signed:
            return max(a, b)
        signed, unsigned = (a, b) if a.signed else (b, a)
        return signed if signed.holds(unsigned) else IntType(max(a.bits, b.bits), False)


FIXED = {
    f"{'' if signed else 'u'}int{bits}_t": IntType(bits, signed) for bits in (8, 16, 32) for signed in (True, False)
}
"""The exact-width types of <stdint.h> in the subset. Two's complement, by C99 7.18.1.1."""

LIMITS = {
    **{f"INT{bits}_MIN": IntType(bits, True) for bits in (8, 16, 32)},
    **{f"INT{bits}_MAX": IntType(bits, True) for bits in (8, 16, 32)},
    **{f"UINT{bits}_MAX": IntType(bits, False) for bits in (8, 16, 32)},
}
"""The limits of <stdint.h> in the subset, and the type each belongs to."""

MODELS = {
    "int16": DataModel("int16", 16, 32),
    "int32": DataModel("int32", 32, 32),
    "lp64": DataModel("lp64", 32, 64),
}
"""Data models: 16-bit int (AVR, MSP430), 32-bit int and long (Cortex-M), 32-bit int and 64-bit long (LP64 hosts)."""
