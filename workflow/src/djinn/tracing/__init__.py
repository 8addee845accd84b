"""A module call on phantoms, as a trace of the operations that it would run."""

from djinn.tracing.overloads import facts_of, misplaced_operand
from djinn.tracing.phantom import UnplannableError
from djinn.tracing.propagation import forget
from djinn.tracing.recorder import Look
from djinn.tracing.simulate import Input, simulate, warm_up

__all__ = [
    "Input",
    "Look",
    "UnplannableError",
    "facts_of",
    "forget",
    "misplaced_operand",
    "simulate",
    "warm_up",
]
