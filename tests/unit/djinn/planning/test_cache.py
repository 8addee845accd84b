"""The plan cache: exact keys, bounded, counted, and off when it is turned off."""

from __future__ import annotations

from djinn.planning.cache import PlanCache


def test_hits_and_misses_are_counted() -> None:
    """Counters are the proof of cold and warm."""
    cache: PlanCache[str] = PlanCache(2)
    assert cache.get("a") is None
    cache.put("a", "plan")
    assert cache.get("a") == "plan"
    assert (cache.misses, cache.hits) == (1, 1)


def test_the_least_recently_used_entry_goes_first() -> None:
    """A look-up renews an entry."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, on_evict=dropped.append)
    cache.put("a", "A")
    cache.put("b", "B")
    cache.get("a")
    cache.put("c", "C")
    assert dropped == ["B"]
    assert cache.evictions == 1
    assert cache.get("a") == "A"


def test_a_replaced_plan_is_dropped_too() -> None:
    """Two threads may plan the same call; the loser must not leak on the server."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, on_evict=dropped.append)
    cache.put("a", "first")
    cache.put("a", "second")
    assert dropped == ["first"]


def test_while_off_nothing_is_found_or_kept() -> None:
    """The switch that ablation 3 relies on."""
    cache: PlanCache[str] = PlanCache(2)
    cache.put("a", "A")
    cache.enabled = False
    assert cache.get("a") is None
    cache.put("b", "B")
    cache.enabled = True
    assert cache.get("b") is None
    assert (cache.bypassed, cache.hits) == (1, 0)


def test_clearing_makes_the_next_look_up_a_miss() -> None:
    """Cold means cold; dropped plans are told."""
    dropped: list[str] = []
    cache: PlanCache[str] = PlanCache(2, on_evict=dropped.append)
    cache.put("a", "A")
    cache.clear()
    assert dropped == ["A"]
    assert cache.get("a") is None
    assert cache.misses == 1
