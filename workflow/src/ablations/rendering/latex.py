"""LaTeX through Jinja: delimiters that LaTeX does not use, and errors for names that are not there."""

from __future__ import annotations

from typing import Any

import jinja2

from ablations.analysis.quantity import MIN_TRIALS_FOR_NOISE
from ablations.rendering.cells import table_cell, table_column, table_interval, table_value
from ablations.rendering.formatting import format_quantity
from ablations.settings import repository_root

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    # In what is quoted it means "about"; LaTeX's own text tilde is an accent over nothing.
    "~": r"$\sim$",
    # Of the characters that keep a number and its unit on one line.
    "\N{NO-BREAK SPACE}": "~",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "×": r"$\times$",
    "–": "--",
    "→": r"$\rightarrow$",
    "µ": r"$\mu$",
    "τ": r"$\tau$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}


def render_template(name: str, **values: Any) -> str:
    """Render `workflow/templates/<name>`; a name that the template uses and `values` lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(repository_root() / "workflow/templates"),
        undefined=jinja2.StrictUndefined,
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\#{",
        comment_end_string="}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.globals["min_trials_for_noise"] = MIN_TRIALS_FOR_NOISE
    environment.filters["tex"] = escape
    environment.filters["number"] = format_quantity
    environment.filters["value"] = table_value
    environment.filters["interval"] = table_interval
    environment.filters["cell"] = table_cell
    environment.filters["column"] = table_column
    return environment.get_template(name).render(**values)


def escape(text: Any) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(character, character) for character in str(text))
