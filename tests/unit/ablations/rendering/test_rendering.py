"""Tables, macros, figures and the document from real results."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import jinja2
import pypdf
import pytest

from ablations.errors import AggregationError, RecordError, SettingsError
from ablations.rendering.appendix import render_appendix
from ablations.rendering.everything import render_everything, result_paths
from ablations.rendering.figures import find_panel, render_figure
from ablations.rendering.latex import render_template
from ablations.rendering.names import FIGURE_GROUPS, FIGURE_STUDIES, FIGURES, TABLE_NAMES, panel_modules
from ablations.rendering.style import new_figure, save
from support import require_tool

COLUMN_IN, FULL_IN = 3.33, 7.0


@pytest.fixture(scope="module")
def rendered(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of results and figures with everything rendered."""
    folder = tmp_path_factory.mktemp("rendered") / "run"
    shutil.copytree(original.parent, folder, ignore=shutil.ignore_patterns("trials", "ledger.json"))
    assert all(path.stat().st_size for path in folder.rglob("*"))
    return folder / "results", folder / "figures"


def test_everything_that_the_study_names_is_there(rendered: tuple[Path, Path]) -> None:
    """Names are part of the specification."""
    results, figures = rendered
    assert {path.name for path in results.iterdir()} == {
        *(f"ablation_{number}.json" for number in range(1, 5)),
        *(f"ablation_{name}_table.tex" for name in ("os_tax", "arena", "cache", "signals")),
        "ablation_numbers.tex",
        "claims.json",
        "claims_table.tex",
        *(
            f"ablation_{name}.{kind}"
            for name in ("cache_histogram", "signals_cliff", "signals_timeline")
            for kind in ("pdf", "png")
        ),
    }
    names = ("1_os_tax", "2_arena_latency", "3_plan_cache", "4_semantic_signals", "summary")
    assert {path.name for path in figures.iterdir()} == {
        "ablation_summary.tex",
        "artifact_appendix.tex",
        "claims.pdf",
        "claims.png",
        *(f"ablation_{name}.{kind}" for name in names for kind in ("pdf", "png")),
    }


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_can_be_drawn(name: str) -> None:
    """Each is a function that there is, and there is one for each place of the grid and for each study."""
    figure = FIGURES[name]
    assert all(callable(find_panel(panel)) for panel in figure.panels)
    assert len(figure.panels) == figure.grid[0] * figure.grid[1]
    assert len(figure.studies) in (1, len(figure.panels))


def test_what_is_drawn_together_is_drawn_from_the_same() -> None:
    """Each figure once, and no group mixes studies or code: otherwise a change would draw what it does not reach."""
    assert sorted(name for names in FIGURE_GROUPS.values() for name in names) == sorted(FIGURE_STUDIES)
    for first, names in FIGURE_GROUPS.items():
        for name in names:
            assert FIGURE_STUDIES[name] == FIGURE_STUDIES[first]
            assert panel_modules(name) == panel_modules(first)
    assert set(FIGURE_GROUPS["ablation_3_plan_cache"]) == {"ablation_3_plan_cache", "ablation_cache_histogram"}


def test_a_figure_is_laid_out_once_and_drawn_once_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a figure is drawn for its layout alone takes as long as what is seen."""
    figure, axes = new_figure(COLUMN_IN, 2.0)
    axes.set_ylabel("a label that needs room")
    drawn = []
    draw = type(figure).draw
    monkeypatch.setattr(type(figure), "draw", lambda self, renderer: (drawn.append(renderer), draw(self, renderer)))
    save(figure, tmp_path / "x.pdf")
    assert len(drawn) == 2
    assert struct.unpack(">II", (tmp_path / "x.png").read_bytes()[16:24]) == (int(220 * COLUMN_IN), 440)
    # A figure without a layout would begin at its default of an eighth of the width.
    assert axes.get_position().x0 != pytest.approx(0.125)


def test_figures_fit_a_column_or_a_page_and_embed_truetype(rendered: tuple[Path, Path]) -> None:
    """Widths of a two-column paper; no Type 3 fonts."""
    for path in [*rendered[0].glob("*.pdf"), *rendered[1].glob("*.pdf")]:
        page = pypdf.PdfReader(path).pages[0]
        assert float(page.mediabox.width) / 72 in (pytest.approx(COLUMN_IN, abs=0.01), pytest.approx(FULL_IN, abs=0.01))
        fonts = page["/Resources"]["/Font"].values()
        assert fonts
        for font in fonts:
            kinds = [inner.get_object()["/Subtype"] for inner in font.get_object().get("/DescendantFonts", [font])]
            assert set(kinds) <= {"/CIDFontType2", "/TrueType"}


def test_rendering_again_gives_the_same_bytes(rendered: tuple[Path, Path], tmp_path: Path) -> None:
    """PDF, PNG and LaTeX alike."""
    results, figures = rendered
    shutil.copytree(results, tmp_path / "results")
    list(render_everything(tmp_path / "results", tmp_path / "figures"))
    for folder, again in ((results, tmp_path / "results"), (figures, tmp_path / "figures")):
        for path in folder.iterdir():
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_figure_shows_its_data(tiny_results: Path, tmp_path: Path) -> None:
    """Other numbers give another picture: nothing is drawn that was not measured."""
    source = tiny_results / "ablation_3.json"
    render_figure("ablation_3_plan_cache", [source], tmp_path / "a.pdf")
    result = json.loads(source.read_text())
    for quantity in result["quantities"].values():
        for name in ("value", "low", "high"):
            quantity[name] *= 3.7
    (tmp_path / "other.json").write_text(json.dumps(result))
    render_figure("ablation_3_plan_cache", [tmp_path / "other.json"], tmp_path / "b.pdf")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_an_unknown_figure_is_named(tiny_results: Path, tmp_path: Path) -> None:
    """With the closest one that exists."""
    with pytest.raises(SettingsError, match="did you mean ablation_summary"):
        render_figure("ablation_sumary", [tiny_results / "ablation_1.json"], tmp_path / "x.pdf")


def test_a_figure_needs_its_studies(tiny_results: Path, tmp_path: Path) -> None:
    """No panel stays empty."""
    with pytest.raises(AggregationError, match="needs results of session_arena, plan_cache, semantic_signals"):
        render_figure("ablation_summary", [tiny_results / "ablation_1.json"], tmp_path / "x.pdf")


def test_the_appendix_is_of_the_ablations_alone(root: Path, tmp_path: Path) -> None:
    """What is measured on demand is no experiment of it."""
    reference = root / "results/reference/intel-xeon-2-cores"
    inputs = [reference / "ablation_1.json", reference / "peers.json"]
    with pytest.raises(AggregationError, match="of the ablations, not of peers; leave that result out"):
        render_appendix(inputs, reference / "claims.json", tmp_path / "x.tex")


def test_without_results_nothing_is_rendered(tmp_path: Path) -> None:
    """One sentence instead of empty files."""
    with pytest.raises(RecordError, match="measure first or pass --results-dir"):
        list(render_everything(tmp_path, tmp_path))


def test_some_results_are_rendered_without_the_others(tiny_results: Path, tmp_path: Path) -> None:
    """A skipped ablation leaves the others' tables and figures."""
    shutil.copy(result_paths(tiny_results)["plan_cache"], tmp_path / "ablation_3.json")
    names = {path.name for path in render_everything(tmp_path, tmp_path / "figures")}
    assert {"ablation_cache_table.tex", "ablation_3_plan_cache.pdf", "ablation_cache_histogram.pdf"} <= names
    assert "ablation_summary.pdf" not in names


def test_no_macro_is_more_precise_than_its_interval(rendered: tuple[Path, Path]) -> None:
    """Nor lacks its interval and its n."""
    text = (rendered[0] / "ablation_numbers.tex").read_text()
    macros = dict(re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}", text))
    names = [name for name in macros if f"{name}Interval" in macros]
    assert len(macros) == 3 * len(names) > 100
    for name in names:
        assert macros[f"{name}N"].isdigit()
        ends = re.findall(r"-?[\d,.]+", macros[f"{name}Interval"].strip("[]").replace("$-$", "-").replace(", ", " "))
        if not ends:
            continue
        low, high = (float(end.replace(",", "")) for end in ends)
        decimals = len(re.match(r"(?:\$-\$)?[\d,]+\.?(\d*)", macros[name])[1])
        assert decimals == 0 or high == low or 10.0**-decimals >= (high - low) / 200 * 0.99, (name, macros[name])


def test_a_name_that_a_template_lacks_is_an_error() -> None:
    """Nothing is rendered as an empty string."""
    with pytest.raises(jinja2.UndefinedError):
        render_template(f"{TABLE_NAMES['os_tax']}.tex.j2", result={}, q={}, study={})


@pytest.mark.parametrize("module", ["tables", "macros", "document", "appendix", "pages", "claims", "simulation_table"])
def test_text_is_rendered_without_what_draws_and_fits(module: str) -> None:
    """Each of these runs in a process of its own, of which loading such packages would be the longest part."""
    heavy = "{'torch', 'pandas', 'scipy', 'matplotlib'}"
    code = f"import ablations.rendering.{module}, sys; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def _compile(figures: Path, document: str) -> str:
    """Compile a document twice and return what it reads; nothing may stick out or stay undefined."""
    pdflatex = require_tool("pdflatex")
    for _ in range(2):
        finished = subprocess.run(
            [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "-jobname=report", document],
            cwd=figures,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert finished.returncode == 0, finished.stdout[-2000:]
    assert "undefined" not in finished.stdout
    assert not re.search(r"Overfull .hbox \(\d{2,}", finished.stdout)
    text = " ".join(page.extract_text() for page in pypdf.PdfReader(figures / "report.pdf").pages)
    for path in figures.glob("report.*"):
        path.unlink()
    return text


def test_the_document_compiles(rendered: tuple[Path, Path]) -> None:
    """With plain pdflatex: an abstract of verdicts, every study with its parts, every table and figure, the environment."""
    results, figures = rendered
    text = _compile(figures, "ablation_summary.tex")
    num_claims = len(json.loads((results / "claims.json").read_text())["verdicts"])
    assert f"Of {num_claims} claims judged" in text
    for caption in ("OS tax", "Session arenas", "Plan cache", "Semantic signals", "Environment"):
        assert caption in text
    for part in ("Question.", "Method.", "Result.", "Threats to validity.", "Verdict."):
        assert text.count(part) == len(TABLE_NAMES), part


def test_the_artifact_appendix_compiles(rendered: tuple[Path, Path]) -> None:
    """Every claim C is there with the experiment E that decides it, and the minutes of each experiment."""
    results, figures = rendered
    text = _compile(figures, "artifact_appendix.tex")
    verdicts = json.loads((results / "claims.json").read_text())["verdicts"]
    for number, verdict in enumerate(verdicts, start=1):
        assert f"(C{number})" in text
        assert verdict["grade"] in text
    for number in range(1, len(TABLE_NAMES) + 1):
        assert f"Experiment (E{number})" in text
    assert len(re.findall(r"\d+ human-minutes \+ \d+ compute-minute", text)) == len(TABLE_NAMES) + 1
    for part in ("Preparation.", "Execution.", "Results."):
        assert text.count(part) == len(TABLE_NAMES)
