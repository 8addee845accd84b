"""The configuration is validated where it enters, with one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ablations.configuration import load_config
from ablations.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("config/config.yaml", "laptop"),
        ("config/smoke.yaml", "smoke"),
        ("config/paper.yaml", "paper"),
        ("config/h100.yaml", "h100"),
        ("config/h100-13b.yaml", "h100-13b"),
        ("config/h100-gpt2.yaml", "h100-gpt2"),
        ("tests/tiny.yaml", "tiny"),
    ],
)
def test_every_shipped_configuration_is_valid(root: Path, name: str, tier: str) -> None:
    """And every tier has a name of its own."""
    assert load_config(root / name).tier == tier


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({1: 2, "x": 3}, "key '1' in the configuration is unknown; the known keys are device, "),
        ({"tier": ["x" * 1000]}, f"tier is ['{'x' * 98}..., which does not fit ("),
        ({"tiers": 1}, "key 'tiers' in the configuration is unknown; did you mean 'tier'"),
        ({"studies": {"plan_cache": {"token": 3}}}, "'token' in studies.plan_cache is unknown; did you mean 'tokens'"),
        ({"trials": {"os_tax": 0}}, "trials.os_tax is 0"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"studies": {"session_arena": {"arena_sizes_mb": []}}}, "studies.session_arena.arena_sizes_mb is"),
        ({"studies": {"plan_cache": {"tokens": 100_000}}}, "studies.plan_cache needs 100000 tokens, but model.context"),
        ({"studies": {"semantic_signals": {"wait_min_s": 99.0}}}, "more than wait_max_s"),
        ({"studies": {"semantic_signals": {"host_pool_mb": 1, "arena_mb": 2}}}, "less than one arena"),
        ({"simulation": {"paper": {"compute_s": -1.0}}}, "simulation.paper.compute_s is -1.0"),
        ({"studies": {"semantic_signals": {"wait_min_s": float("nan")}}}, "studies.semantic_signals.wait_min_s is nan"),
        ({"simulation": {"paper": {"arrivals_per_s": float("nan")}}}, "simulation.paper.arrivals_per_s is nan"),
        ({"simulation": {"sweeps": {"mean_waits_s": [5.0, float("inf")]}}}, "simulation.sweeps.mean_waits_s[1] is inf"),
        (
            {"studies": {"peers": {"forward": {"num_tokens": 100_000}}}},
            "studies.peers.forward needs 100000 tokens, but model.context",
        ),
        ({"tier": "a" * 65}, "tier is 'a"),
        (
            {"studies": {"session_arena": {"arena_sizes_mb": [64, 64]}}},
            "arena_sizes_mb is [64, 64], which does not fit",
        ),
        ({"simulation": {"sweeps": {"mean_waits_s": [5, 5.0]}}}, "mean_waits_s is [5, 5.0], which does not fit"),
        ({"seed": 10**400}, "seed is beyond all floats, but must be a finite number"),
        ({"simulation": {"paper": {"wait_min_s": 99.0}}}, "more than wait_max_s"),
        ({"simulation": {"paper": {"host_pool_bytes": 1000}}}, "less than one session"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_remedy(tmp_path: Path, overlay: dict[str, Any], message: str) -> None:
    """Unknown keys and values out of range never pass silently."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(overlay))
    with pytest.raises(SettingsError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tier: [", "is not YAML"),
        (b"\xff\xfe\0t", "is not YAML .*decode"),
        (b"seed: 2026-13-45", "is not YAML .*month"),
        (b"tier: one\ntier: two\n", "is not YAML .*found key 'tier' twice in line 2, column 1.*; correct it"),
        (b"- 1", "holds no settings"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """With its name."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{path} {message}"):
        load_config(path)


@pytest.mark.parametrize(
    "place",
    [
        "os_tax.layer",
        "os_tax.forward.model",
        "plan_cache.model",
        "semantic_signals.model",
        "peers.layer",
        "peers.forward.model",
    ],
)
def test_heads_share_a_models_features_evenly(place: str) -> None:
    """No trial could reshape them, as it would say only when it runs."""
    overrides: dict[str, Any] = {"d_model": 33, "num_heads": 2}
    for key in reversed(("studies", *place.split("."))):
        overrides = {key: overrides}
    with pytest.raises(SettingsError, match=rf"studies\.{place}\.d_model is 33, which num_heads, 2, does not divide; "):
        load_config(overrides=overrides)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(SettingsError, match=r"absent.yaml cannot be read"):
        load_config(tmp_path / "absent.yaml")
