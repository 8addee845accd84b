"""Policies are pure: views and a time in, names out."""

from __future__ import annotations

from djinn.scheduling.policies import SessionView, make_policy
from djinn.scheduling.states import State


def _view(name: str, state: State, idle_since_s: float = 0.0, resume_s: float | None = None) -> SessionView:
    return SessionView(
        session_id=name, state=state, idle_since_s=idle_since_s, arena_bytes=1, estimated_resume_s=resume_s
    )


def test_none_never_evicts() -> None:
    """Whatever happens."""
    policy = make_policy("none", idle_timeout_s=1.0)
    assert policy.select_evictions(1e9, [_view("a", State.IDLE), _view("b", State.IO_WAIT)]) == []
    assert not policy.can_evict


def test_reactive_evicts_after_the_timeout_longest_idle_first() -> None:
    """Neither earlier nor in another order, and only who is idle."""
    policy = make_policy("reactive", idle_timeout_s=2.0)
    views = [_view("late", State.IDLE, 5.0), _view("early", State.IDLE, 3.0), _view("busy", State.RUNNING, 0.0)]
    assert policy.select_evictions(4.9, views) == []
    assert policy.select_evictions(7.0, views) == ["early", "late"]
    assert policy.next_deadline_s(views) == 5.0


def test_reactive_ignores_signals() -> None:
    """Its only cause is idleness."""
    policy = make_policy("reactive", idle_timeout_s=2.0)
    assert not policy.honours_signals
    assert policy.select_evictions(100.0, [_view("a", State.IO_WAIT)]) == []


def test_proactive_evicts_who_waits_farthest_resume_first() -> None:
    """Idleness alone is no reason; an unknown resume counts as the farthest."""
    policy = make_policy("proactive", idle_timeout_s=0.001)
    views = [
        _view("soon", State.IO_WAIT, resume_s=1.0),
        _view("idle", State.IDLE),
        _view("later", State.IO_WAIT, resume_s=9.0),
        _view("unknown", State.IO_WAIT),
    ]
    assert policy.select_evictions(1e9, views) == ["unknown", "later", "soon"]
