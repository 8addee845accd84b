"""Agents in virtual time: a discrete-event simulation that drives the runtime's own policies and residency."""
