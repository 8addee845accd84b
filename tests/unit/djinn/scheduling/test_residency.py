"""The residency, driven step by step in virtual time: what each policy does, and what no policy may do."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djinn.config import SchedulingMode
from djinn.scheduling.policies import make_policy
from djinn.scheduling.residency import Residency
from djinn.scheduling.sessions import Session
from djinn.scheduling.states import State

MODES: tuple[SchedulingMode, ...] = ("none", "reactive", "lru", "proactive", "proactive_plus")
TIMEOUT_S = 10.0


class Bench:
    """A driver whose copies take as long as the test lets them."""

    def __init__(self, mode: SchedulingMode, *, slots: int, pool: int = 100) -> None:
        self.residency = Residency(
            make_policy(mode, idle_timeout_s=TIMEOUT_S), self, budget_bytes=slots, pool_bytes=pool
        )
        self.outward: deque[Session] = deque()
        self.inward: deque[Session] = deque()
        self.num_granted: dict[str, int] = {}
        self.rejected_ids: list[str] = []
        self.sessions: list[Session] = []
        self.now_s = 0.0

    def copy_out(self, session: Session) -> None:
        """Begin a copy to the host."""
        self.outward.append(session)

    def copy_in(self, session: Session) -> None:
        """Begin a copy to the device."""
        self.inward.append(session)

    def granted(self, session: Session, now_s: float) -> None:
        """Count it."""
        self.num_granted[session.session_id] = self.num_granted.get(session.session_id, 0) + 1

    def rejected(self, session: Session, now_s: float) -> None:
        """Note it."""
        self.rejected_ids.append(session.session_id)

    def released(self, session: Session) -> None:
        """Nothing to return."""

    def forgot_copy(self, session: Session) -> None:
        """Nothing to drop."""

    def open(self, name: str) -> Session:
        """A session of one byte that has computed once, if it was admitted."""
        session = self.residency.open(name, 1)
        self.sessions.append(session)
        self.request(session)
        if session.state is State.RUNNING:
            self.finish(session)
        return session

    def request(self, session: Session) -> bool:
        """Ask to compute."""
        return self.residency.request(session, self.now_s)

    def finish(self, session: Session) -> None:
        """Compute no more."""
        self.residency.finish(session, self.now_s)

    def wait(self, session: Session, resume_s: float | None = None) -> None:
        """Announce a wait."""
        self.residency.wait(session, resume_s, self.now_s)

    def settle(self) -> None:
        """Let every copy complete."""
        while self.outward or self.inward:
            if self.outward:
                self.residency.copied_out(self.outward.popleft(), self.now_s)
            if self.inward:
                self.residency.copied_in(self.inward.popleft(), self.now_s)

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.now_s += seconds
        self.residency.tick(self.now_s)

    def check(self) -> None:
        """Audit."""
        self.residency.check_integrity(self.sessions)


def test_none_rejects_what_does_not_fit() -> None:
    """At once, since nobody will ever leave."""
    bench = Bench("none", slots=1)
    bench.open("a")
    second = bench.open("b")
    assert bench.rejected_ids == ["b"]
    assert second.state is State.NEW


def test_reactive_evicts_after_the_timeout_and_not_before() -> None:
    """Whether or not anybody needs the memory."""
    bench = Bench("reactive", slots=1)
    first = bench.open("a")
    second = bench.open("b")
    assert bench.residency.next_tick_s == TIMEOUT_S
    bench.advance(TIMEOUT_S - 0.5)
    assert first.state is State.IDLE
    bench.advance(0.5)
    assert first.state is State.SWAPPING_OUT
    bench.settle()
    assert first.state is State.EVICTED
    assert second.state is State.RUNNING


def test_reactive_counts_from_the_last_computation() -> None:
    """A session that was busy meanwhile starts anew."""
    bench = Bench("reactive", slots=1)
    session = bench.open("a")
    bench.advance(TIMEOUT_S - 1)
    bench.request(session)
    bench.finish(session)
    bench.advance(2)
    assert session.state is State.IDLE
    bench.advance(TIMEOUT_S - 2)
    assert session.state is State.SWAPPING_OUT


def test_lru_evicts_the_longest_idle_on_demand_alone() -> None:
    """Idleness itself is no reason; recent use is a reason to stay."""
    bench = Bench("lru", slots=2)
    first, second = bench.open("a"), bench.open("b")
    bench.advance(1e6)
    assert first.state is second.state is State.IDLE
    bench.request(first)
    bench.finish(first)
    bench.open("c")
    assert second.state is State.SWAPPING_OUT
    assert first.state is State.IDLE


def test_proactive_evicts_at_the_signal() -> None:
    """And restores when asked to compute; the host's copy is dropped then."""
    bench = Bench("proactive", slots=1)
    session = bench.open("a")
    bench.wait(session)
    bench.settle()
    assert session.state is State.EVICTED
    assert not bench.request(session)
    bench.settle()
    assert session.state is State.RUNNING
    assert bench.num_granted["a"] == 2, "once when it was admitted, once when it was restored"
    assert bench.residency.pool_used_bytes == 0


def test_proactive_plus_keeps_a_clean_session_until_its_memory_is_needed() -> None:
    """A wait that ends before anybody needs the memory costs no restore."""
    bench = Bench("proactive_plus", slots=1)
    session = bench.open("a")
    bench.wait(session, resume_s=5.0)
    bench.settle()
    assert session.state is State.CLEAN
    assert bench.request(session)
    assert bench.residency.num_restores == bench.residency.num_evictions == 0


def test_proactive_plus_takes_the_memory_of_who_is_expected_last() -> None:
    """Without any copy: the newcomer computes at once; an unknown resume counts as the last."""
    bench = Bench("proactive_plus", slots=3)
    soon, late, unknown = bench.open("soon"), bench.open("late"), bench.open("unknown")
    for session, resume_s in ((late, 50.0), (soon, 5.0), (unknown, None)):
        bench.wait(session, resume_s)
    bench.settle()
    assert bench.open("x").state is State.IDLE
    assert unknown.state is State.EVICTED
    assert bench.open("y").state is State.IDLE
    assert (late.state, soon.state) == (State.EVICTED, State.CLEAN)
    assert bench.residency.num_reclaims == 2


def test_proactive_plus_brings_back_before_the_estimated_resume() -> None:
    """As early as restores have taken, several times over; then the request waits for nothing."""
    bench = Bench("proactive_plus", slots=1)
    first = bench.open("a")
    bench.wait(first, resume_s=100.0)
    bench.settle()
    second = bench.open("b")
    bench.wait(second, resume_s=1000.0)
    bench.settle()
    assert first.state is State.EVICTED
    assert bench.residency.next_tick_s == 100.0
    bench.advance(100.0)
    bench.settle()
    assert first.state is State.CLEAN
    assert second.state is State.EVICTED
    assert bench.request(first)
    assert bench.residency.num_prefetches == 1


def test_a_prefetch_takes_no_memory_from_who_is_expected_sooner() -> None:
    """It would only have to be brought back itself."""
    bench = Bench("proactive_plus", slots=1)
    first = bench.open("a")
    bench.wait(first, resume_s=100.0)
    bench.settle()
    second = bench.open("b")
    bench.wait(second, resume_s=99.0)
    bench.settle()
    bench.advance(100.0)
    assert second.state is State.CLEAN
    assert first.state is State.EVICTED


def test_a_full_pool_postpones_an_eviction() -> None:
    """Until there is room again."""
    bench = Bench("proactive", slots=2, pool=1)
    first, second = bench.open("a"), bench.open("b")
    bench.wait(first)
    bench.wait(second)
    bench.settle()
    assert (first.state, second.state) == (State.EVICTED, State.IO_WAIT)
    bench.residency.close(first, bench.now_s)
    bench.settle()
    assert second.state is State.EVICTED


def test_a_kept_copy_makes_room_for_one_that_is_needed() -> None:
    """A copy of a session that computes again only saves a later transfer."""
    bench = Bench("proactive_plus", slots=2, pool=1)
    first, second = bench.open("a"), bench.open("b")
    bench.wait(first, 5.0)
    bench.settle()
    bench.request(first)
    assert first.has_copy
    bench.wait(second, 5.0)
    bench.settle()
    assert second.state is State.CLEAN
    assert not first.has_copy
    bench.check()


def test_a_request_that_gives_up_leaves_the_line() -> None:
    """Whoever stands behind it is served."""
    bench = Bench("proactive", slots=1)
    first = bench.open("a")
    second, third = bench.open("b"), bench.open("c")
    bench.residency.withdraw(second, bench.now_s)
    bench.wait(first)
    bench.settle()
    assert second.state is State.NEW
    assert third.state is State.RUNNING


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["step", "wait", "outward", "inward", "advance"]), st.integers(0, 7), st.floats(0, 30)),
    max_size=200,
)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, slots=st.integers(1, 4), pool=st.integers(0, 9))
def test_whatever_happens_memory_is_accounted_for_and_nobody_is_lost(
    mode: SchedulingMode, actions: list[tuple[str, int, float]], slots: int, pool: int
) -> None:
    """Budget and pool are kept at every step, and in the end everybody who can be served is."""
    bench = Bench(mode, slots=slots, pool=pool)
    for number in range(8):
        bench.sessions.append(bench.residency.open(str(number), 1))
    for action, number, seconds in actions:
        session = bench.sessions[number]
        if action == "outward" and bench.outward:
            bench.residency.copied_out(bench.outward.popleft(), bench.now_s)
        elif action == "inward" and bench.inward:
            bench.residency.copied_in(bench.inward.popleft(), bench.now_s)
        elif action == "advance":
            bench.advance(seconds)
        elif session.state is State.RUNNING:
            bench.finish(session)
        elif action == "step" and not session.waits_for_memory:
            bench.request(session)
        elif action == "wait" and bench.residency.num_sessions and _may_wait(bench, session):
            bench.wait(session, bench.now_s + seconds)
        bench.check()
    _drain(bench)


def _may_wait(bench: Bench, session: Session) -> bool:
    is_signalling = bench.residency._policy.uses_signals
    return is_signalling and not session.waits_for_memory and session.state in (State.IDLE, State.CLEAN, State.EVICTED)


def _drain(bench: Bench) -> None:
    """Let everybody finish and leave; whoever still stands in line must be served by that."""
    for _ in range(50 * len(bench.sessions)):
        bench.settle()
        bench.check()
        if not (left := [session for session in bench.sessions if session.state is not State.CLOSED]):
            return
        for session in left:
            if session.state is State.RUNNING:
                bench.finish(session)
            if not session.waits_for_memory and session.state in (
                State.NEW,
                State.IDLE,
                State.IO_WAIT,
                State.CLEAN,
                State.EVICTED,
            ):
                bench.residency.close(session, bench.now_s)
    raise AssertionError(f"{[(session.session_id, session.state) for session in left]} were never served")
