"""Tiers are found by the names that configuration files give themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablations.errors import SettingsError
from ablations.provenance import tiers
from ablations.provenance.tiers import known_tiers, tier_of

TINY = Path(__file__).resolve().parents[3] / "tiny.yaml"


def test_every_configuration_of_the_repository_is_known(root: Path) -> None:
    """The default one first; claims are none."""
    known = known_tiers()
    assert next(iter(known)) == "laptop"
    assert {"laptop", "smoke", "paper", "h100", "h100-13b", "h100-gpt2", "tiny"} == set(known)
    assert known["smoke"].source == "config/smoke.yaml"
    assert known["laptop"].results_dir == root / "results"
    assert known["tiny"].results_dir == root / "results/tiny"


def test_a_file_that_cannot_be_read_as_a_tier_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own among those of the repository, which nobody has passed."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/mine.yaml").write_text("tier: [")
    monkeypatch.setattr(tiers, "repository_root", lambda: tmp_path)
    with pytest.raises(SettingsError, match=r"Configuration .*config/mine.yaml is not YAML"):
        known_tiers.__wrapped__()


def test_commands_name_the_configuration() -> None:
    """Except for the default one."""
    assert known_tiers()["laptop"].snakemake("all") == "snakemake --cores 1 all"
    assert known_tiers()["tiny"].snakemake("all") == "snakemake --cores 1 all --configfile tests/tiny.yaml"


def test_a_given_file_is_believed_if_it_makes_the_tier(tmp_path: Path) -> None:
    """And refused if it makes another one."""
    own = tmp_path / "own.yaml"
    own.write_text("tier: own")
    tier = tier_of("own", [own])
    assert tier is not None
    assert tier.source == str(own)
    assert tier_of("own", []) is None
    with pytest.raises(SettingsError, match=r"are of tier own, but .*tiny.yaml makes tier tiny"):
        tier_of("own", [TINY])
