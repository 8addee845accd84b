"""Progress says what runs, how far it is and how long it will take; a log gets whole lines, a terminal one that changes."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from ablations.measurement.progress import Progress


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Pretend that standard error is a terminal, or that it is not."""
    return lambda is_tty: monkeypatch.setattr(sys.stderr, "isatty", lambda: is_tty)


def test_the_rest_is_told_from_the_pace_so_far(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of eight steps in ten seconds leave thirty."""
    progress = Progress("study", clock=clock, min_interval_s=0)
    clock.now_s += 10
    progress.update(2, 8, "arm")
    progress.update(0, 8)
    assert capsys.readouterr().err == "study: 2/8, about 30 s left - arm\nstudy: 0/8, about 80 s left\n"


@pytest.mark.parametrize(("is_tty", "interval_s"), [(True, 0.2), (False, 5.0)])
def test_updates_are_as_frequent_as_the_reader_can_use(
    clock: Clock,
    on_terminal: Callable[[bool], None],
    capsys: pytest.CaptureFixture[str],
    is_tty: bool,
    interval_s: float,
) -> None:
    """Seldom in a log, often on a terminal, counted from the last one."""
    on_terminal(is_tty)
    progress = Progress("study", clock=clock)
    seen = []
    for share in (0.9, 1.1, 1.9, 2.2):
        clock.now_s = 100.0 + share * interval_s
        progress.update(1, 4)
        seen.append(bool(capsys.readouterr().err))
    assert seen == [False, True, False, True]


def test_a_terminals_line_is_replaced_and_the_last_one_stays(
    clock: Clock, on_terminal: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Even if the last step comes right after another."""
    on_terminal(True)
    progress = Progress("study", clock=clock)
    clock.now_s += 4
    progress.update(1, 2)
    progress.update(2, 2)
    assert capsys.readouterr().err == "\x1b[2Kstudy: 1/2, about 4 s left\r\x1b[2Kstudy: 2/2, about 0 s left\n"


def test_the_last_step_is_no_exception_in_a_log(
    clock: Clock, on_terminal: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Work that ends quickly is silent there."""
    on_terminal(False)
    Progress("study", clock=clock).update(2, 2)
    assert capsys.readouterr().err == ""


def test_a_note_is_a_line_of_its_own(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Whenever it comes."""
    Progress("study", clock=clock).note("began anew")
    assert capsys.readouterr().err == "study: began anew\n"
