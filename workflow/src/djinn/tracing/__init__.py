"""A module call on phantoms, as a trace of the operations that it would run."""

from djinn.tracing.overloads import Facts, decompose, facts_of, misplaced_operand, result_scope
from djinn.tracing.phantom import Phantom, SideEffectError, UnplannableError, with_real
from djinn.tracing.propagation import forget
from djinn.tracing.recorder import Look
from djinn.tracing.simulate import Input, simulate, warm_up
from djinn.tracing.strays import written_storages

__all__ = [
    "Facts",
    "Input",
    "Look",
    "Phantom",
    "SideEffectError",
    "UnplannableError",
    "decompose",
    "facts_of",
    "forget",
    "misplaced_operand",
    "result_scope",
    "simulate",
    "warm_up",
    "with_real",
    "written_storages",
]
