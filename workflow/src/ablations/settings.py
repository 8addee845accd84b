"""What can be configured: the types, their schema, and the slice that one study depends on.

The types below are the single source: `workflow/schemas/config.schema.json` is generated from them, and a test holds
the two together.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from ablations.errors import SettingsError
from ablations.simulation_settings import UNIQUE, Simulation

DEFAULT_TIER = "laptop"
DEFAULT_CONFIG = "config/config.yaml"

Count = Annotated[int, Meta(ge=1)]
TrialCount = Annotated[int, Meta(ge=1, le=1000)]
Megabytes = Annotated[int, Meta(ge=1, le=1_048_576)]
PositiveNumber = Annotated[float, Meta(gt=0)]
Dtype = Literal["float32", "float16", "bfloat16"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all settings: frozen, by name, without unknown keys."""


class StudySettings(Settings, frozen=True):
    """Base of one study's settings.

    Attributes:
        variants: what the study measures apart; every variant of every trial is measured in a process of its own.
    """

    variants: ClassVar[tuple[str, ...]] = ()


class ModelShape(Settings, frozen=True, omit_defaults=True):
    """A decoder-only transformer; `dtype` is that of its weights and its cache."""

    num_layers: Count
    d_model: Count
    num_heads: Count
    vocabulary: Count
    context: Count
    dtype: Dtype = "float32"


class LayerShape(Settings, frozen=True, omit_defaults=True):
    """One transformer layer and its input, both of `dtype`."""

    d_model: Count
    num_heads: Count
    num_tokens: Count
    dtype: Dtype = "float32"


class ForwardShape(Settings, frozen=True):
    """A full forward pass: a model and its input."""

    model: ModelShape
    num_tokens: Count


class Sampling(Settings, frozen=True):
    """How often each scale of the OS tax is sampled: `lead_in` calls that are no samples come before each block of them."""

    rounds: Count
    lead_in: Count
    block: Count
    cold: Count


class OsTax(StudySettings, frozen=True):
    """Ablation 1."""

    variants: ClassVar[tuple[str, ...]] = ("micro_add", "layer_one_token", "transformer_layer", "full_forward")
    warmup: Count
    micro_add: Sampling
    layer_one_token: Sampling
    transformer_layer: Sampling
    full_forward: Sampling
    layer: LayerShape
    forward: ForwardShape


class SessionArena(StudySettings, frozen=True):
    """Ablation 2."""

    variants: ClassVar[tuple[str, ...]] = ("arenas",)
    arena_sizes_mb: Annotated[list[Megabytes], Meta(min_length=1, extra_json_schema=UNIQUE)]
    sessions: Count
    many_sessions: Count
    commit_samples: Count
    budget_mb: Megabytes


class PlanCache(StudySettings, frozen=True):
    """Ablation 3."""

    variants: ClassVar[tuple[str, ...]] = ("decode",)
    sequences: Count
    tokens: Annotated[int, Meta(ge=2)]
    uncached_tokens: Count
    model: ModelShape


class SemanticSignals(StudySettings, frozen=True):
    """Ablation 4."""

    variants: ClassVar[tuple[str, ...]] = ("none", "reactive", "lru", "proactive", "proactive_plus")
    model: ModelShape
    prompt_tokens: Count
    decode_tokens: Count
    token_interval_s: Annotated[float, Meta(ge=0)]
    steady_phases: Count
    wait_min_s: PositiveNumber
    wait_max_s: PositiveNumber
    arrivals_per_s: PositiveNumber
    estimate_error: Annotated[float, Meta(ge=0, le=1)]
    slots: Count
    arena_mb: Megabytes
    host_pool_mb: Megabytes
    idle_timeout_s: PositiveNumber
    swap_bandwidth_gb_per_s: PositiveNumber
    latency_objective_s: PositiveNumber
    common_agents: Count
    max_probes: Annotated[int, Meta(ge=2)]


class Studies(Settings, frozen=True):
    """Settings of each study, in order of the ablations; a field here is all that makes a study known."""

    os_tax: OsTax
    session_arena: SessionArena
    plan_cache: PlanCache
    semantic_signals: SemanticSignals
    peers: OsTax


class Trials(Settings, frozen=True):
    """How many invocations each study has; more of them leave the finished ones valid."""

    os_tax: TrialCount
    session_arena: TrialCount
    plan_cache: TrialCount
    semantic_signals: TrialCount
    peers: TrialCount


STUDY_TYPES: dict[str, type[StudySettings]] = {field.name: field.type for field in msgspec.structs.fields(Studies)}
VARIANTS = {study: kind.variants for study, kind in STUDY_TYPES.items()}
MEASURABLE = tuple(STUDY_TYPES)
# Measured on demand alone, and no ablation.
ON_DEMAND = ("peers",)
# The ablations, numbered from 1 in this order.
STUDIES = tuple(study for study in MEASURABLE if study not in ON_DEMAND)


class Config(Settings, frozen=True):
    """The whole configuration."""

    # Part of folders' names, of which file systems take so much.
    tier: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]*$", max_length=64)]
    seed: Annotated[int, Meta(ge=0)]
    device: Literal["cpu", "cuda"]
    threads: Count | None
    trials: Trials
    studies: Studies
    simulation: Simulation


class TrialSettings(Settings, frozen=True):
    """What one trial depends on: the common settings and its study's own."""

    tier: str
    seed: int
    device: Literal["cpu", "cuda"]
    threads: Count | None
    study: StudySettings


@lru_cache(maxsize=1)
def repository_root() -> Path:
    """Return the folder that holds the Snakefile, found from this file upwards.

    Raises:
        SettingsError: the package does not lie in a checkout.
    """
    for folder in Path(__file__).resolve().parents:
        if (folder / "Snakefile").is_file():
            return folder
    raise SettingsError(f"No Snakefile lies above {__file__}; install the package in place with pip install -e .")


def generate_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the configuration."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Config)}


def given_settings(text: str) -> dict[str, Any]:
    """Return the plain settings that one stage passes to another as JSON.

    Raises:
        SettingsError: the text is not JSON, or not an object.
    """
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"--settings is not JSON ({error}); pass what the workflow passes, or --config.") from error
    if not isinstance(settings, dict):
        raise SettingsError(
            f"--settings is {text[:100]}, but must be a JSON object; pass what the workflow passes, or --config."
        )
    return settings


def trial_settings(config: Config, study: str) -> dict[str, Any]:
    """Return the plain settings that trials of `study` depend on.

    Raises:
        SettingsError: an unknown study.
    """
    if study not in MEASURABLE:
        near = difflib.get_close_matches(study, MEASURABLE, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; choose one of {', '.join(MEASURABLE)}."
        raise SettingsError(f"Study {study!r} is unknown{hint}")
    plain = msgspec.to_builtins(config)
    common = {name: plain[name] for name in ("tier", "seed", "device", "threads")}
    return {**common, "study": plain["studies"][study]}


def simulation_settings(config: Config) -> dict[str, Any]:
    """Return the plain settings that the simulation depends on."""
    plain = msgspec.to_builtins(config)
    return {name: plain[name] for name in ("tier", "seed", "simulation")}


def trial_count(config: Config, study: str) -> int:
    """Return how many trials of each variant of `study` are configured."""
    count: int = getattr(config.trials, study)
    return count


def output_dir(base: str, tier: str) -> str:
    """Return the folder under `results`, `figures` or `logs` that a tier owns; no tier writes into another's."""
    return base if tier == DEFAULT_TIER else f"{base}/{tier}"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the sha256 of settings in canonical form."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
