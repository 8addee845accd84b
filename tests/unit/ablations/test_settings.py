"""The types are the schema, and a study depends on its own slice of the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablations.configuration import load_config
from ablations.errors import SettingsError
from ablations.settings import STUDIES, generate_schema, given_settings, output_dir, settings_hash, trial_settings


def test_schema_file_is_what_the_types_say(root: Path) -> None:
    """The committed schema is generated from the types; regenerate it when they change."""
    written = json.loads((root / "workflow/schemas/config.schema.json").read_text())
    assert written == generate_schema()


def test_a_study_depends_on_its_own_settings_only() -> None:
    """Another study's settings, and the number of trials, leave finished trials valid."""
    before, after = (
        load_config(overrides={"trials": {"os_tax": trials}, "studies": {"plan_cache": {"tokens": tokens}}})
        for trials, tokens in ((6, 48), (9, 50))
    )
    hashes = {study: [settings_hash(trial_settings(config, study)) for config in (before, after)] for study in STUDIES}
    assert [study for study, (one, two) in hashes.items() if one != two] == ["plan_cache"]


def test_an_unknown_study_is_named() -> None:
    """With the closest one that exists."""
    with pytest.raises(SettingsError, match="'plan_cash' is unknown; did you mean plan_cache"):
        trial_settings(load_config(), "plan_cash")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 10_000, "[]", "null", '"words"', "1"])
def test_given_settings_are_an_object(text: str) -> None:
    """Of JSON, whatever its reader says of what is none."""
    with pytest.raises(SettingsError, match=r"--settings is .*; pass what the workflow passes, or --config\.$"):
        given_settings(text)


def test_tiers_never_share_a_folder() -> None:
    """The default tier owns the plain folders."""
    assert output_dir("results", "laptop") == "results"
    assert output_dir("results", "smoke") == "results/smoke"
