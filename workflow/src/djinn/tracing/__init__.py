"""Meta-simulation: a module call on fake tensors, recorded as a trace."""

from djinn.tracing.recorder import Recorder, UnplannableError
from djinn.tracing.simulate import Simulation, simulate, warm_up

__all__ = ["Recorder", "Simulation", "UnplannableError", "simulate", "warm_up"]
