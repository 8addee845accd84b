"""Aggregates hold what was measured, and trials that do not belong together are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablations.analysis.aggregate import aggregate_files
from ablations.analysis.reading import read_aggregated, read_studies
from ablations.errors import AggregationError, RecordError
from ablations.records import write_json
from ablations.settings import STUDIES


def _copies(paths: list[Path], folder: Path, change: Callable[[dict[str, Any]], None]) -> list[Path]:
    """Copy trials as another trial number, changed."""
    made = []
    for path in paths:
        record = json.loads(path.read_text())
        record["trial"] = 1
        change(record)
        made.append(folder / path.parent.name / "trial_1.json")
        write_json(made[-1], record)
    return made


def _no_change(record: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_aggregates_and_names_its_files(
    study: str, tiny_trials: dict[str, list[Path]], tiny_results: Path
) -> None:
    """The manifest has each file with its hash; one trial is flagged underpowered."""
    result = read_aggregated(tiny_results / f"ablation_{STUDIES.index(study) + 1}.json")
    assert [Path(entry["file"]) for entry in result["trials"]] == sorted(tiny_trials[study])
    assert "underpowered" in result["flags"]
    for quantity in filter(None, result["quantities"].values()):
        assert quantity["low"] <= quantity["value"] <= quantity["high"]
        assert np.isfinite(quantity["value"])


def test_medians_are_those_of_the_samples(tiny_trials: dict[str, list[Path]], tiny_results: Path) -> None:
    """Recomputed here from the trial file, not by the aggregate's code."""
    record = json.loads(next(path for path in tiny_trials["os_tax"] if path.parent.name == "micro_add").read_text())
    quantities = read_aggregated(tiny_results / "ablation_1.json")["quantities"]
    for arm in ("native", "djinn_warm", "djinn_cold"):
        ordered = sorted(record["samples"][f"{arm}_us"])
        assert quantities[f"micro_add.{arm}"]["value"] == ordered[(len(ordered) + 1) // 2 - 1]


def test_aggregating_again_gives_the_same_bytes(
    tiny_trials: dict[str, list[Path]], tiny_results: Path, tmp_path: Path
) -> None:
    """Whatever the order of the files."""
    aggregate_files("plan_cache", tiny_trials["plan_cache"], tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tiny_results / "ablation_3.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["environment"].update(machine_id="0" * 12), "different machines or software"),
        (lambda r: r.update(settings_sha256="0" * 64), "different settings"),
        (lambda r: r.update(sources_sha256="0" * 64), "different versions of the measured code"),
        (lambda r: r.update(trial=0), "twice"),
    ],
)
def test_mixtures_are_refused_with_their_files(
    tiny_trials: dict[str, list[Path]], tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """Machines, settings, code versions, doubles."""
    paths = tiny_trials["plan_cache"]
    with pytest.raises(AggregationError, match=message) as caught:
        aggregate_files("plan_cache", paths + _copies(paths, tmp_path, change), tmp_path / "out.json")
    assert "trial_" in str(caught.value) or "twice" in message
    assert not (tmp_path / "out.json").exists()


def test_another_machine_is_named_with_the_facts_that_differ(
    tiny_trials: dict[str, list[Path]], tmp_path: Path
) -> None:
    """Not only that there are two, but in what."""
    paths = tiny_trials["plan_cache"]

    def moved(record: dict[str, Any]) -> None:
        record["environment"].update(machine_id="0" * 12, cpu_model="Z80", torch="1.0")

    with pytest.raises(AggregationError, match=r"cpu_model is .*Z80") as caught:
        aggregate_files("plan_cache", paths + _copies(paths, tmp_path, moved), tmp_path / "out.json")
    assert "torch is " in str(caught.value)


def test_edited_settings_are_refused(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """They no longer have the hash that the trial wrote."""
    edited = _copies(tiny_trials["plan_cache"], tmp_path, lambda record: record["settings"]["study"].update(tokens=9))
    with pytest.raises(AggregationError, match="settings that do not have the hash it gives") as caught:
        aggregate_files("plan_cache", edited, tmp_path / "out.json")
    assert str(edited[0]) in str(caught.value)


@pytest.mark.parametrize("fact", [{"torch": "1.0"}, {"cpu_model": "Z80"}, {"num_threads": 99}, {"accelerator": "H900"}])
def test_an_edited_machine_is_refused(tiny_trials: dict[str, list[Path]], tmp_path: Path, fact: dict[str, Any]) -> None:
    """Although it still bears the name of the one that measured."""
    edited = _copies(tiny_trials["plan_cache"], tmp_path, lambda record: record["environment"].update(fact))
    with pytest.raises(AggregationError, match="a machine and software that do not have the hash it gives") as caught:
        aggregate_files("plan_cache", edited, tmp_path / "out.json")
    assert str(edited[0]) in str(caught.value)


def test_fewer_trials_than_expected_are_refused(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """With those that are there, and the numbers of those that are not; nothing is written."""
    paths = tiny_trials["plan_cache"]
    with pytest.raises(
        AggregationError, match=r"has 1 trials of decode .*but 3 are expected; measure trials 1, 2"
    ) as caught:
        aggregate_files("plan_cache", paths, tmp_path / "out.json", expected_trials=3)
    assert str(paths[0]) in str(caught.value)
    assert not (tmp_path / "out.json").exists()
    aggregate_files("plan_cache", paths, tmp_path / "out.json", expected_trials=1)
    assert (tmp_path / "out.json").exists()


def test_another_studys_trials_are_refused(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """By name."""
    with pytest.raises(AggregationError, match="is of study plan_cache, not os_tax"):
        aggregate_files("os_tax", tiny_trials["plan_cache"], tmp_path / "out.json")


def test_a_missing_variant_is_named(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """A result without one of its arms would mislead."""
    with pytest.raises(AggregationError, match="lacks trials of proactive_plus; measure them"):
        aggregate_files("semantic_signals", tiny_trials["semantic_signals"][:4], tmp_path / "out.json")


def test_a_missing_trial_of_one_variant_is_named(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """Variants are compared trial by trial."""
    paths = tiny_trials["os_tax"]
    with pytest.raises(AggregationError, match=r"lacks trials of some variants .*micro_add has \[0, 1\]"):
        aggregate_files(
            "os_tax", paths + _copies([p for p in paths if "micro_add" in str(p)], tmp_path, _no_change), tmp_path / "o"
        )


def test_a_truncated_trial_is_named(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """And nothing is written."""
    broken = tmp_path / "trial_0.json"
    broken.write_text(tiny_trials["plan_cache"][0].read_text()[:100])
    with pytest.raises(RecordError, match="trial_0.json is not complete JSON"):
        aggregate_files("plan_cache", [broken], tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_tiers_are_not_shown_together(tiny_results: Path, tmp_path: Path) -> None:
    """A figure of mixed tiers would compare what is not comparable."""
    other = json.loads((tiny_results / "ablation_1.json").read_text()) | {"tier": "other"}
    write_json(tmp_path / "ablation_1.json", other)
    with pytest.raises(AggregationError, match="different tiers"):
        read_studies([tmp_path / "ablation_1.json", tiny_results / "ablation_2.json"])


def test_reservations_that_alternate_show_the_noise_floor(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """Every second one takes a tenth longer here, whatever its size."""

    def change(record: dict[str, Any]) -> None:
        for number, sample in enumerate(record["samples"]["reserve"]):
            sample["reserve_us"] = 1.1 if number % 2 else 1.0

    paths = _copies(tiny_trials["session_arena"], tmp_path, change)
    aggregate_files("session_arena", paths, tmp_path / "out.json")
    floor = read_aggregated(tmp_path / "out.json")["quantities"]["noise_floor"]
    assert floor["value"] == pytest.approx(10.0)


def test_studies_are_read_in_order_of_the_ablations(tiny_results: Path) -> None:
    """Whatever the order of the files."""
    paths = [tiny_results / f"ablation_{number}.json" for number in (3, 1, 4, 2)]
    assert list(read_studies(paths)) == list(STUDIES)


def test_a_study_that_is_given_twice_is_named(tiny_results: Path) -> None:
    """With the second file."""
    path = tiny_results / "ablation_1.json"
    with pytest.raises(AggregationError, match=f"{path} is of study os_tax, which was given before"):
        read_studies([path, path])


def test_different_tiers_are_named_by_study(tiny_results: Path, tmp_path: Path) -> None:
    """So that the stranger can be found."""
    other = json.loads((tiny_results / "ablation_1.json").read_text()) | {"tier": "other"}
    write_json(tmp_path / "ablation_1.json", other)
    with pytest.raises(AggregationError, match=r"\(os_tax is of other, session_arena is of tiny\)"):
        read_studies([tmp_path / "ablation_1.json", tiny_results / "ablation_2.json"])


def test_the_fewer_of_two_machines_are_the_strangers(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """Three at most are listed, by commas."""

    def moved(record: dict[str, Any]) -> None:
        record["environment"].update(machine_id="0" * 12)

    paths = tiny_trials["semantic_signals"]
    strangers = _copies(paths[:2], tmp_path, moved)
    with pytest.raises(AggregationError) as caught:
        aggregate_files("semantic_signals", strangers + paths, tmp_path / "out.json")
    named = str(caught.value).partition("(")[2].partition(" differ from the others")[0]
    assert set(named.split(", ")) == set(map(str, strangers))


def test_the_trials_that_are_there_are_listed_where_some_are_missing(
    tiny_trials: dict[str, list[Path]], tmp_path: Path
) -> None:
    """By commas, for whoever looks for them."""
    paths = tiny_trials["plan_cache"]
    both = [*paths, *_copies(paths, tmp_path, _no_change)]
    with pytest.raises(AggregationError) as caught:
        aggregate_files("plan_cache", both, tmp_path / "out.json", expected_trials=3)
    assert f"({', '.join(map(str, both))})" in str(caught.value)
    assert "measure trials 2." in str(caught.value)
