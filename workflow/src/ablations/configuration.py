"""Reads configurations: one laid over another, checked against the schema and for what no schema can say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import msgspec

from ablations.errors import SettingsError
from ablations.settings import DEFAULT_CONFIG, Config, repository_root
from ablations.simulation_settings import check_simulation
from ablations.violations import explain_violation, first_violation, require_finite
from ablations.yaml_files import read_yaml


def load_config(*paths: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the default configuration with `paths`, then `overrides`, laid over it, as `snakemake --configfile` does.

    Raises:
        SettingsError: a file that is missing, is not YAML, has a key twice, or does not fit the schema.
    """
    merged: dict[str, Any] = {}
    for path in (repository_root() / DEFAULT_CONFIG, *paths):
        merged = _overlay(merged, _read_yaml(path))
    source = str(paths[-1]) if paths else DEFAULT_CONFIG
    if overrides:
        merged, source = _overlay(merged, overrides), "command line"
    return validate_config(merged, source=source)


def validate_config(config: Mapping[str, Any], *, source: str = DEFAULT_CONFIG) -> Config:
    """Check a configuration against the schema and convert it.

    Raises:
        SettingsError: the first violation, with its key, value and remedy.
    """
    require_finite(config, source)
    schema_path = repository_root() / "workflow/schemas/config.schema.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema_path.read_text()))
    violation = first_violation(validator.iter_errors(dict(config)))
    if violation is not None:
        raise SettingsError(f"{source}: {explain_violation(violation, DEFAULT_CONFIG)}")
    converted = msgspec.convert(dict(config), Config)
    _check_relations(converted, source)
    return converted


def _overlay(base: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    _, content = read_yaml(path, "Configuration", SettingsError)
    if not isinstance(content, dict):
        raise SettingsError(f"Configuration {path} holds no settings; start from {DEFAULT_CONFIG}.")
    return content


def _check_relations(config: Config, source: str) -> None:
    check_simulation(config.simulation, source)
    _check_heads(config, source)
    signals = config.studies.semantic_signals
    if signals.wait_min_s > signals.wait_max_s:
        raise SettingsError(
            f"{source}: studies.semantic_signals.wait_min_s is {signals.wait_min_s}, more than wait_max_s, {signals.wait_max_s}; swap them."
        )
    if signals.host_pool_mb < signals.arena_mb:
        raise SettingsError(
            f"{source}: studies.semantic_signals.host_pool_mb is {signals.host_pool_mb}, less than one arena of "
            f"{signals.arena_mb}; raise it."
        )
    tokens = signals.prompt_tokens + (2 + signals.steady_phases) * signals.decode_tokens
    for name, needed, context in (
        ("semantic_signals", tokens, signals.model.context),
        ("plan_cache", config.studies.plan_cache.tokens, config.studies.plan_cache.model.context),
        ("os_tax.forward", config.studies.os_tax.forward.num_tokens, config.studies.os_tax.forward.model.context),
        ("peers.forward", config.studies.peers.forward.num_tokens, config.studies.peers.forward.model.context),
    ):
        if needed > context:
            raise SettingsError(
                f"{source}: studies.{name} needs {needed} tokens, but model.context is {context}; raise it."
            )


def _check_heads(config: Config, source: str) -> None:
    studies = config.studies
    for name, shape in (
        ("os_tax.layer", studies.os_tax.layer),
        ("os_tax.forward.model", studies.os_tax.forward.model),
        ("plan_cache.model", studies.plan_cache.model),
        ("semantic_signals.model", studies.semantic_signals.model),
        ("peers.layer", studies.peers.layer),
        ("peers.forward.model", studies.peers.forward.model),
    ):
        if shape.d_model % shape.num_heads:
            raise SettingsError(
                f"{source}: studies.{name}.d_model is {shape.d_model}, which num_heads, {shape.num_heads}, does not divide; "
                "choose a multiple of it."
            )
