"""The mutants of each network, and what the verifier says of them, each once."""

from __future__ import annotations

from functools import cache

import c_layer_mutants
import c_rescale_mutants
from c_mutants import MUTANTS, NETWORKS

from intnn.ccheck.verify import Verdict, verify_c

REGISTERED = (c_rescale_mutants, c_layer_mutants)  # imported for the mutants that they register


@cache
def mutated(network: str, name: str) -> str | None:
    """The text of a mutant, if it has a place."""
    return MUTANTS[name].of(NETWORKS[network])


@cache
def verdict(network: str, name: str) -> Verdict | None:
    """What the verifier says of a mutant."""
    text = mutated(network, name)
    return None if text is None else verify_c(text, NETWORKS[network])
