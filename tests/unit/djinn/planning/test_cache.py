"""The plan cache: exact keys, bounded, counted, and off when it is turned off."""

from __future__ import annotations

from djinn.planning.cache import PlanCache


def test_hits_and_misses_are_counted() -> None:
    """Counters are the proof of cold and warm."""
    cache: PlanCache[str] = PlanCache(2, 100)
    assert cache.get("a") is None
    cache.put("a", "plan", 10)
    assert cache.get("a") == "plan"
    assert (cache.misses, cache.hits) == (1, 1)


def test_the_least_recently_used_entry_goes_first() -> None:
    """A look-up renews an entry."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, 100, on_evict=dropped.append)
    cache.put("a", "A", 10)
    cache.put("b", "B", 10)
    cache.get("a")
    cache.put("c", "C", 10)
    assert dropped == ["B"]
    assert cache.evictions == 1
    assert cache.get("a") == "A"


def test_a_hit_that_was_noted_renews_its_entry() -> None:
    """Whoever knew the plan did not look it up; one that is gone meanwhile was known all the same."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, 100, on_evict=dropped.append)
    cache.put("a", "A", 10)
    cache.put("b", "B", 10)
    cache.note_hit("a")
    cache.note_hit("gone")
    cache.put("c", "C", 10)
    assert dropped == ["B"]
    assert (cache.misses, cache.hits) == (0, 2)


def test_a_replaced_plan_is_dropped_too() -> None:
    """Two threads may plan the same call; the loser must not leak on the server."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, 100, on_evict=dropped.append)
    cache.put("a", "first", 10)
    cache.put("a", "second", 10)
    assert dropped == ["first"]


def test_while_off_nothing_is_found_or_kept() -> None:
    """The switch that ablation 3 relies on."""
    cache: PlanCache[str] = PlanCache(2, 100)
    cache.put("a", "A", 10)
    cache.enabled = False
    assert cache.get("a") is None
    assert cache.peek("a") is None
    cache.put("b", "B", 10)
    cache.enabled = True
    assert cache.get("b") is None
    assert (cache.bypassed, cache.hits) == (1, 0)


def test_clearing_makes_the_next_look_up_a_miss() -> None:
    """Cold means cold; dropped plans are told."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, 100, on_evict=dropped.append)
    cache.put("a", "A", 10)
    cache.clear()
    assert dropped == ["A"]
    assert cache.get("a") is None
    assert cache.misses == 1


def test_bytes_are_bounded_too() -> None:
    """Large plans push small ones out; the newest stays, however large, because it is about to be used."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(9, 100, on_evict=dropped.append)
    cache.put("a", "A", 40)
    cache.put("b", "B", 40)
    cache.put("c", "C", 60)
    assert dropped == ["A"]
    assert cache.counters()["held_bytes"] == 100
    cache.put("d", "D", 500)
    assert dropped == ["A", "B", "C"]
    assert cache.get("d") == "D"
    cache.discard("d", "another")
    assert cache.peek("d") is not None
    cache.discard("d", cache.peek("d"))
    assert cache.counters()["held_bytes"] == 0
