"""What a name stands for: a macro, a cell of a table, a claim, a figure, a table or a study."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablations.errors import SettingsError
from ablations.rendering.macros import macro_name
from ablations.rendering.names import (
    CLAIMS_FIGURE,
    CLAIMS_TABLE,
    EXTRA_FIGURE_STUDIES,
    EXTRA_TABLE_NAMES,
    FIGURE_STUDIES,
    SIMULATED_STUDY,
    SIMULATION_FIGURES,
    SIMULATION_RESULT,
    SIMULATION_SWEEPS,
    SIMULATION_TABLE,
    TABLE_NAMES,
)
from ablations.settings import STUDIES, VARIANTS

# What the macro of a number may end with: its interval and its count have macros of their own.
_MACRO_ENDINGS = ("", "Interval", "N")
_FILE_ENDINGS = (".pdf", ".png", ".tex", ".json", ".html", ".rst", ".txt")
# What else a reader may call the document, which needs all four studies and shares its name with a figure.
_DOCUMENT_NAMES = ("summary", "document", "ablation_report")
# What is made from all results that there are, by its file's name and by what a reader may call it.
_MADE_FROM_ALL = {
    CLAIMS_FIGURE: ("verdicts",),
    CLAIMS_TABLE: (),
    "ablation_numbers": ("numbers", "macros"),
    "artifact_appendix": ("appendix",),
    "ledger": (),
    "compare": ("compare_table",),
    "report": ("pages", "tables", "provenance"),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One study's share in what a name stands for.

    Attributes:
        study: that measured it.
        quantity: a single number; None for everything that the study reports.
    """

    study: str
    quantity: str | None = None

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants whose trials the quantity comes from."""
        everything: tuple[str, ...] = VARIANTS[self.study]
        if self.quantity is None:
            return everything
        words = re.split(r"\.|_over_", self.quantity)
        return tuple(variant for variant in everything if variant in words) or everything


def resolve(
    name: str, results: Mapping[str, dict[str, Any]], claims: Mapping[str, tuple[Subject, ...]]
) -> tuple[Subject, ...]:
    """Return what a name stands for.

    Args:
        name: with or without a macro's backslash or a file's folder and suffix.
        results: the aggregated results, by study.
        claims: what each judged claim rests on, by its id.

    Raises:
        SettingsError: nothing has this name; the message names the nearest.
    """
    # A file is meant wherever it lies; of a trial's path the study is known.
    trial = re.search(r"trials/(\w+)/\w+/trial_\d+\.json$", name)
    bare = trial[1] if trial else name.strip().rpartition("/")[2].removeprefix("\\").removesuffix("{}")
    known = known_names(results, claims)
    for candidate in (bare, *(bare.removesuffix(ending) for ending in _FILE_ENDINGS)):
        if candidate in known:
            return known[candidate]
    # Matched without case, and against the last words of cells too, which are what people remember.
    folded = {other.lower(): other for other in known}
    near = difflib.get_close_matches(bare.lower(), folded, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(folded[match] for match in near)}?" if near else _EXAMPLES
    raise SettingsError(
        f"Name {name!r} is no macro, cell, claim, figure, table, file or study of these results; {hint}"
    )


_EXAMPLES = "name one like os_tax.micro_add.native, AblOsTaxMicroAddNative or ablation_summary."


def known_names(
    results: Mapping[str, dict[str, Any]], claims: Mapping[str, tuple[Subject, ...]]
) -> dict[str, tuple[Subject, ...]]:
    """Return every name that these results give a meaning."""
    names: dict[str, tuple[Subject, ...]] = {}
    for study, result in results.items():
        whole = (Subject(study),)
        names |= {study: whole, (TABLE_NAMES | EXTRA_TABLE_NAMES)[study]: whole}
        if result["ablation"] is not None:
            # The appendix calls it an experiment.
            names |= dict.fromkeys((f"ablation_{result['ablation']}", f"E{result['ablation']}"), whole)
        for quantity in result["quantities"]:
            subject = (Subject(study, quantity),)
            names[f"{study}.{quantity}"] = subject
            names |= {macro_name(study, quantity) + ending: subject for ending in _MACRO_ENDINGS}
    shown = (*SIMULATION_FIGURES, SIMULATION_TABLE, SIMULATION_RESULT, SIMULATION_SWEEPS)
    simulated = dict.fromkeys(shown, (SIMULATED_STUDY,))
    for figure, studies in (FIGURE_STUDIES | EXTRA_FIGURE_STUDIES | simulated).items():
        if set(studies) <= set(results):
            names[figure] = tuple(Subject(study) for study in studies)
    everything = tuple(Subject(study) for study in results if study in STUDIES)
    for product, others in _MADE_FROM_ALL.items() if everything else ():
        names |= dict.fromkeys((product, *others), everything)
    if "ablation_summary" in names:
        names |= dict.fromkeys(_DOCUMENT_NAMES, names["ablation_summary"])
    # A claim that shares a cell's name shows the cell too.
    return names | dict(claims)
