"""The operators as closures: on ints right away, on what depends on the input by the domain."""

from __future__ import annotations

import operator

from intnn.ccheck.scope import Frame, Run
from intnn.ccheck.values import Domain, Value

ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul}
COMPARISONS = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def zero(frame: Frame) -> int:
    return 0


def affine(domain: Domain, run: Run, factor: int, term: int) -> Run:
    """``factor * value + term``, over unbounded integers."""

    def compute(frame: Frame) -> Value:
        value = run(frame)
        if type(value) is int:
            return factor * value + term
        return domain.add(value if factor == 1 else domain.multiply(value, factor), term)

    return compute


def arithmetic(domain: Domain, op: str, left: Run, right: Run) -> Run:
    """``left op right``, over unbounded integers."""
    concrete = ARITHMETIC[op]

    def run(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        if type(a) is int and type(b) is int:
            return concrete(a, b)
        if op == "*":
            return domain.multiply(a, b)
        return domain.add(a, b, 1 if op == "+" else -1)

    return run


def comparison(domain: Domain, op: str, left: Run, right: Run) -> Run:
    """1 where ``left op right``, else 0."""
    concrete = COMPARISONS[op]

    def run(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        if type(a) is int and type(b) is int:
            return int(concrete(a, b))
        above, below = domain.add(a, b, -1), domain.add(b, a, -1)
        match op:
            case ">":
                return domain.positive(above)
            case "<":
                return domain.positive(below)
            case ">=":
                return domain.add(1, domain.positive(below), -1)
            case "<=":
                return domain.add(1, domain.positive(above), -1)
        unequal = domain.add(domain.positive(above), domain.positive(below))
        return unequal if op == "!=" else domain.add(1, unequal, -1)

    return run


def negation(domain: Domain, run: Run) -> Run:
    """1 where the value is 0, else 0."""
    return comparison(domain, "==", run, zero)


def choice(domain: Domain, condition: Run, yes: Run, no: Run) -> Run:
    """``condition ? yes : no``; each branch is evaluated only where it is taken."""

    def run(frame: Frame) -> Value:
        truth = condition(frame)
        if type(truth) is int:
            return yes(frame) if truth else no(frame)
        taken, skipped = domain.split(truth)
        if skipped is None or taken is None:
            return (yes if skipped is None else no)(frame)
        outer = domain.path
        domain.path = taken
        a = yes(frame)  # a trap leaves the path as it is: that says for which inputs
        domain.path = skipped
        b = no(frame)
        domain.path = taken
        value = domain.overlay(a, b)
        domain.path = outer
        return value

    return run


def both(domain: Domain, left: Run, right: Run, conjunction: bool) -> Run:
    """``left && right``, or with ``conjunction`` false ``left || right``; right only where left does not decide."""
    truth = comparison(domain, "!=", right, zero)
    settled: Run = (lambda frame: 0) if conjunction else (lambda frame: 1)
    return choice(domain, left, truth, settled) if conjunction else choice(domain, left, settled, truth)
