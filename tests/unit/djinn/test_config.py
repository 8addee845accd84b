"""Settings come from GENIE_* variables and are checked where they enter."""

from __future__ import annotations

from typing import Any

import pytest

from djinn.config import Config
from djinn.errors import ConfigurationError


def test_session_arena_size_comes_from_its_own_variable() -> None:
    """The specification fixes the name of this variable."""
    assert Config.from_environment({"GENIE_VMU_SESSION_ARENA_MB": "128"}).session_arena_mb == 128


def test_default_session_arena_is_64_mb() -> None:
    """The specification fixes the default."""
    assert Config.from_environment({}).session_arena_mb == 64


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GENIE_VMU_SESSION_ARENA_MB", "many"), ("GENIE_STACK_MB", "-1"), ("GENIE_SCHEDULING_MODE", "eager")],
)
def test_unusable_variable_is_named_with_its_value(variable: str, value: str) -> None:
    """A message says which variable, which value, and what to do."""
    with pytest.raises(ConfigurationError, match=variable) as caught:
        Config.from_environment({variable: value})
    assert value in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_mb": "5"}, "text_mb is '5', but must be of type int; set GENIE_TEXT_MB"),
        ({"session_arena_mb": 1.5}, "session_arena_mb is 1.5, but must be of type int"),
        ({"plan_cache_enabled": "no"}, "plan_cache_enabled is 'no', but must be of type bool"),
        ({"idle_timeout_s": None}, "idle_timeout_s is None, but must be of type float"),
        ({"num_threads": True}, "num_threads is True, but must be of type int"),
        ({"num_threads": 10**6}, "num_threads is 1000000, but must be at most 1024"),
        ({"admission_timeout_s": 1e300}, "admission_timeout_s is 1e\\+300, but must be at most"),
    ],
)
def test_a_value_of_another_type_or_beyond_all_systems_is_refused(settings: dict[str, Any], message: str) -> None:
    """Here, before a server is started with it."""
    with pytest.raises(ConfigurationError, match=message):
        Config(**settings)
    assert Config(idle_timeout_s=1).idle_timeout_s == 1


def test_json_round_trip_keeps_every_setting() -> None:
    """The embedded server gets exactly its client's configuration."""
    config = Config(scheduling_mode="reactive", idle_timeout_s=0.25, num_threads=3, swap_bandwidth_gb_per_s=1.5)
    assert Config.from_json(config.to_json()) == config


def test_unknown_setting_in_json_is_refused() -> None:
    """A misspelt setting must not be ignored."""
    with pytest.raises(ConfigurationError, match="stack_size"):
        Config.from_json('{"stack_size": 3}')
