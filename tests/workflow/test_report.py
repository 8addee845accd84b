"""The report as an evaluator meets it: one file in a browser without a network, claims first, everything to be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablations.rendering.names import CLAIMS_FIGURE, FIGURE_STUDIES
from support import require_package, require_tool

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CATEGORIES = ("1 Claims", "2 Figures", "3 Tables", "4 Settings, environment, sources")


@pytest.fixture(scope="module")
def report(finished: Any, checkout: Path, snakemake: Callable[..., Any]) -> Path:
    """The report of the finished workflow."""
    made = snakemake("--report", "report.html")
    assert made.returncode == 0, made.stderr[-3000:]
    return checkout / "report.html"


@pytest.fixture(scope="module")
def opened(report: Path) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The report in a browser that is offline, with all that it asks for and all that it complains about."""
    chromium, playwright = require_tool("chromium"), require_package("playwright.sync_api")
    requests: list[str] = []
    complaints: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(_QUIET))
        context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(report.as_uri())
        page.wait_for_selector("text=Claims", timeout=30_000)
        yield page, requests, complaints
        browser.close()


def _show(page: Any, path: str) -> None:
    """Open one result as its button does."""
    page.evaluate("path => new ToggleViewManager(app).handleSelectedResult(path)", path)


def _results(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("results")
    return found


def test_claims_come_first(opened: tuple[Any, list[str], list[str]], checkout: Path) -> None:
    """The first page counts the verdicts; the menu lists claims, figures, tables, and where they come from, in order."""
    page, _, _ = opened
    counts = json.loads((checkout / "results/tiny/claims.json").read_text())["counts"]
    text = page.inner_text("body")
    assert f"Of {sum(counts.values())} claims" in text
    assert all(f"{count} {grade}" in text for grade, count in counts.items() if count)
    places = [text.index(category) for category in _CATEGORIES]
    assert places == sorted(places)


def test_the_claims_table_is_visible(opened: tuple[Any, list[str], list[str]], checkout: Path) -> None:
    """Every claim has a row with its verdict."""
    page, _, _ = opened
    page.get_by_text(_CATEGORIES[0]).first.click()
    _show(page, "results/tiny/pages/claims.html")
    table = page.frame_locator("iframe").locator("#claims")
    table.wait_for(state="visible")
    verdicts = json.loads((checkout / "results/tiny/claims.json").read_text())["verdicts"]
    rows = table.locator("tbody tr").all_inner_texts()
    assert len(rows) == len(verdicts)
    for row, verdict in zip(rows, verdicts, strict=True):
        assert verdict["quote"] in row
        assert verdict["grade"] in row


def test_every_figure_is_visible_with_its_caption(opened: tuple[Any, list[str], list[str]], root: Path) -> None:
    """Its picture has loaded and has a size."""
    page, _, _ = opened
    found = {Path(path).stem: path for path in _results(page) if path.endswith(".png")}
    assert {*FIGURE_STUDIES, CLAIMS_FIGURE} <= set(found)
    for name, path in found.items():
        _show(page, path)
        image = page.locator(f"img[src='{_results(page)[path]['data_uri']}']")
        image.wait_for(state="visible")
        assert image.evaluate("image => image.complete && image.naturalWidth") > 300
        words = re.sub(r"<[^>]+>", " ", _results(page)[path]["caption"]).split()
        assert words == (root / f"workflow/report/{name}.rst").read_text().split()


@pytest.mark.parametrize(("page_name", "expected"), [("tables", "token_speedup"), ("provenance", "sha256")])
def test_tables_and_provenance_are_visible(
    opened: tuple[Any, list[str], list[str]], page_name: str, expected: str
) -> None:
    """Every quantity, every setting, every trial by its hash."""
    page, _, _ = opened
    _show(page, f"results/tiny/pages/{page_name}.html")
    frame = page.frame_locator("iframe")
    frame.get_by_text(expected).first.wait_for(state="visible")


def test_nothing_leaves_the_page_and_nothing_complains(opened: tuple[Any, list[str], list[str]]) -> None:
    """After all of the above: every request is the file itself or data within it."""
    _, requests, complaints = opened
    assert requests
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
