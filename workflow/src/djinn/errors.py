"""The exception tree: what a user of the runtime may catch.

DjinnError
├── ConfigurationError (also ValueError)   a setting is unknown or out of range
├── OutOfMemoryError                       a segment, arena or pool cannot hold a request
├── SessionClosedError                     a session was used after its end
├── SessionStateError                      a session event that its state does not allow
├── DeviceMismatchError (also RuntimeError) operands live on different devices
├── UnsupportedOperatorError (also NotImplementedError)  an operator that the device does not run
├── PlanError                              a plan or trace that the server refuses
├── UnknownPlanError (PlanError)           a plan that the server no longer holds
├── GuardError (PlanError)                 a plan that relied on data which are different now
├── SharedInputsError (PlanError)          a plan whose inputs share elements that it writes to
├── WithdrawnError (PlanError)             a plan's call that its client did not confirm
└── ConnectionFailedError                  no server, or a connection that ended
    ├── ServerDiedError                    the server process ended in mid-conversation
    └── ProtocolError                      bytes that are not this protocol
"""

from __future__ import annotations


class DjinnError(Exception):
    """Base of every error that the runtime raises on purpose."""


class ConfigurationError(DjinnError, ValueError):
    """A setting is unknown or out of range."""


class OutOfMemoryError(DjinnError):
    """A segment, arena or pool cannot hold a request; names owner, request and capacity."""


class SessionClosedError(DjinnError):
    """A session was used after it was closed."""


class SessionStateError(DjinnError):
    """A session received an event that its state does not allow."""


class DeviceMismatchError(DjinnError, RuntimeError):
    """Operands of one operation live on different devices."""


class UnsupportedOperatorError(DjinnError, NotImplementedError):
    """An operator that the remote device does not run."""


class PlanError(DjinnError):
    """A trace or plan that the server refuses."""


class UnknownPlanError(PlanError):
    """A plan that the server does not hold (any more); the client plans again."""


class GuardError(PlanError):
    """A plan that relied on the value of some data, which is different now; the client plans again."""


class SharedInputsError(PlanError):
    """A plan's call whose inputs share elements that it writes to; the client runs it operation by operation."""


class WithdrawnError(PlanError):
    """A plan's call that was sent before it was certain, and not confirmed in time; the client sends it again if it meant it."""


class ConnectionFailedError(DjinnError):
    """No server answers at an address, or a connection ended."""


class ServerDiedError(ConnectionFailedError):
    """The server process ended while a request was under way."""


class ProtocolError(ConnectionFailedError):
    """The peer sent bytes that are not this protocol."""
