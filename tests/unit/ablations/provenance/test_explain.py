"""Every name leads to its numbers, its trials and the command that measures them again."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ablations.analysis.reading import read_aggregated
from ablations.errors import SettingsError
from ablations.judging.judge import judge_files
from ablations.provenance.claims import all_claims
from ablations.provenance.explain import explain
from ablations.provenance.folder import file_sha256, result_files
from ablations.rendering.names import FIGURE_STUDIES
from ablations.settings import STUDIES, VARIANTS

CELL = "os_tax.micro_add.warm_difference"
MACRO = "AblOsTaxMicroAddWarmDifference"


def _explained(name: str, results: Path) -> str:
    return "\n".join(explain(name, results, []))


@pytest.fixture
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that nobody changes are validated once, not again for each of a hundred names."""
    monkeypatch.setattr("ablations.provenance.explain.read_aggregated", cache(read_aggregated))


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize("study", STUDIES)
def test_every_macro_is_explained(original: Path, study: str) -> None:
    """With its value as the document shows it, and at least one trial that is what it was."""
    prefix = "Abl" + "".join(word.title() for word in study.split("_"))
    defined = re.findall(rf"\\newcommand{{\\({prefix}\w*)}}", (original / "ablation_numbers.tex").read_text())
    macros = [macro for macro in defined if f"{macro}Interval" in defined]
    assert len(macros) == len(defined) / 3 > 10
    for macro in macros:
        text = _explained(f"\\{macro}", original)
        assert f"quantity      {study}." in text
        assert "shows this value" in text
        assert "(as in the ledger)" in text
        assert re.search(r"trial_0.json, sha256 [0-9a-f]{64} \(matches\)", text)
        assert "measure again" in text


def test_all_names_of_a_number_mean_the_same(original: Path) -> None:
    """Macro with and without backslash, of its interval and its n; the table's cell."""
    expected = _explained(CELL, original)
    for name in (MACRO, f"\\{MACRO}", f"\\{MACRO}{{}}", f"{MACRO}Interval", f"{MACRO}N"):
        assert _explained(name, original) == expected


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize("figure", FIGURE_STUDIES)
@pytest.mark.parametrize("suffix", ["", ".pdf", ".png"])
def test_every_figure_is_explained(original: Path, figure: str, suffix: str) -> None:
    """By each study that it shows."""
    text = _explained(figure + suffix, original)
    for study in FIGURE_STUDIES[figure]:
        assert f"study         {study}: " in text


@pytest.mark.parametrize("name", ["os_tax", "ablation_1", "ablation_1.json", "ablation_os_tax_table.tex", "E1"])
def test_a_whole_study_is_explained(original: Path, name: str) -> None:
    """By its own name, its result's, its table's and the appendix's; all variants went in."""
    text = _explained(name, original)
    assert f"4 of {', '.join(sorted(VARIANTS['os_tax']))}" in text


def test_only_the_variants_behind_a_number_are_listed(original: Path) -> None:
    """A gain comes from two modes, proactive_plus is not proactive, and a calibration comes from all."""
    gain = _explained("semantic_signals.gain.proactive_over_reactive", original)
    assert "2 of proactive, reactive" in gain
    assert "proactive_plus/trial" not in gain
    assert "5 of " in _explained("semantic_signals.calibration.swap", original)
    assert "1 of micro_add" in _explained(CELL, original)


def test_hashes_are_those_of_the_files_now(whole: Path, edit: Any) -> None:
    """What changed since is said so."""
    trial = whole / "trials/os_tax/micro_add/trial_0.json"
    assert f"sha256 {file_sha256(trial)} (matches)" in _explained(CELL, whole)
    edit(trial, lambda record: record.update(duration_s=1.0))
    assert "(CHANGED since it was aggregated)" in _explained(CELL, whole)
    trial.unlink()
    assert "(LOST)" in _explained(CELL, whole)


def test_a_changed_result_and_a_changed_macro_are_said_so(whole: Path, edit: Any) -> None:
    """The chain is only as good as its links."""
    edit(whole / "ablation_1.json", lambda result: result["quantities"]["micro_add.warm_difference"].update(value=1e5))
    text = _explained(CELL, whole)
    assert "(CHANGED since the ledger was written)" in text
    assert "SHOWS ANOTHER VALUE" in text


def test_other_code_and_other_settings_are_said_so(whole: Path, edit: Any) -> None:
    """A stale number is never shown as one of now."""

    def older(result: dict[str, Any]) -> None:
        result["sources_sha256"] = "0" * 64
        result["settings"]["study"]["warmup"] = 77

    edit(whole / "ablation_1.json", older)
    text = _explained(CELL, whole)
    assert "NOT THE SAME NOW" in text
    assert "study.warmup is 77, now 1" in text


def test_another_machine_is_said_so(whole: Path, edit: Any) -> None:
    """With the fact that differs."""
    edit(whole / "ablation_1.json", lambda result: result["environment"].update(cpu_model="Z80"))
    assert "cpu_model is Z80, here " in _explained(CELL, whole)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("os_tax.micro_add.warm_diference", CELL),
        (f"\\{MACRO.lower()}", MACRO),
        ("ablation_sumary", "ablation_summary"),
        ("os_taxx", "os_tax"),
    ],
)
def test_an_unknown_name_is_one_sentence_with_near_matches(original: Path, name: str, near: str) -> None:
    """Of all kinds of names."""
    with pytest.raises(SettingsError, match="did you mean") as caught:
        _explained(name, original)
    assert near in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_like_no_other_gets_examples(original: Path) -> None:
    """Of what may be named."""
    with pytest.raises(SettingsError, match=r"name one like os_tax.micro_add.native"):
        _explained("@@@@", original)


def test_without_verdicts_it_says_so(whole: Path) -> None:
    """Numbers are explained all the same."""
    (whole / "claims.json").unlink()
    assert re.search(r"claims +none are judged: .*claims.json does not exist yet", _explained(CELL, whole))


@pytest.mark.usefixtures("_read_once")
def test_every_claim_is_explained(whole: Path, root: Path) -> None:
    """By its id and by what pages call it: with what the judge said of it, and all the numbers that it rests on."""
    judge_files(root / "config/claims.yaml", list(result_files(whole).values()), whole / "claims.json")
    for number, claim in enumerate(all_claims(), start=1):
        text = _explained(claim.id, whole)
        assert _explained(f"C{number}", whole) == text
        assert re.search(rf"^claim +{claim.id} \(C{number}\)$", text, re.MULTILINE)
        assert re.search(r"^  grade +\w+", text, re.MULTILINE)
        assert f"quantity      {claim.study}.{claim.metric}" in text


def test_the_command_measures_these_trials_again(original: Path, root: Path) -> None:
    """A folder that the scripts made is measured again by its script, and only what lies behind the number is removed."""
    command = next(line for line in explain(CELL, original, []) if line.startswith("measure again")).split(maxsplit=2)[
        2
    ]
    removed, script = command.split(" && ")
    assert removed.split()[2:] == [str(original / "trials/os_tax/micro_add/trial_0.json")]
    assert (root / script.split()[1]).is_file()
    assert script.endswith("--config tests/tiny.yaml")


def test_the_command_line_prints_the_chain(original: Path, run_cli: Any) -> None:
    """Status 2 and one sentence for what does not exist."""
    found = run_cli("-m", "ablations", "explain", f"\\{MACRO}", "--results-dir", original)
    assert found.returncode == 0, found.stderr
    assert f"quantity      {CELL}" in found.stdout
    unknown = run_cli("-m", "ablations", "explain", "AblNothing", "--results-dir", original)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: Name 'AblNothing' is no macro")
