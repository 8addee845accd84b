"""A module call on phantoms, as a trace of the operations that it would run."""

from djinn.tracing.phantom import UnplannableError
from djinn.tracing.propagation import forget
from djinn.tracing.simulate import Simulation, simulate, warm_up

__all__ = ["Simulation", "UnplannableError", "forget", "simulate", "warm_up"]
