"""The look of figures: widths, colours that survive colour blindness and grey print, and reproducible files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ablations.whole_files import replacing

COLUMN_WIDTH_IN = 3.33
FULL_WIDTH_IN = 7.0

# What would make equal figures differ from run to run.
_NO_PDF_DATES = {"CreationDate": None, "Creator": None, "Producer": None}
_NO_PNG_SOFTWARE = {"Software": None}

# Okabe and Ito's palette; https://jfly.uni-koeln.de/color/
_GREY, _BLUE, _ORANGE, _GREEN, _VERMILLION, _SKY = "#8c8c8c", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
_BLACK = "#000000"

# One look for each thing wherever it appears: colour, hatch, marker.
LOOKS: dict[str, tuple[str, str, str]] = {
    "native": (_GREY, "", "s"),
    "warm": (_BLUE, "//", "o"),
    "cold": (_ORANGE, "..", "^"),
    "cache_off": (_VERMILLION, "xx", "D"),
    "serialize": (_SKY, "", "o"),
    "dispatch": (_ORANGE, "//", "o"),
    "compute": (_GREY, "", "o"),
    "result": (_GREEN, "..", "o"),
    "compiled": (_SKY, "", "v"),
    "djinn": (_BLUE, "//", "o"),
    "rpc": (_ORANGE, "..", "^"),
    "ray": (_VERMILLION, "xx", "D"),
    "proactive": (_BLUE, "//", "o"),
    "reactive": (_ORANGE, "..", "^"),
    "none": (_GREY, "", "s"),
    "lru": (_VERMILLION, "xx", "D"),
    "proactive_plus": (_GREEN, "\\\\", "v"),
    "oracle": (_BLACK, "", "*"),
}

# The same for each grade of a claim, best first.
GRADE_LOOKS: dict[str, tuple[str, str, str]] = {
    "reproduced": (_GREEN, "", "o"),
    "direction only": (_BLUE, "//", "^"),
    "not reproduced": (_VERMILLION, "xx", "X"),
    "inconclusive": (_ORANGE, "..", "D"),
    "not testable here": (_GREY, "", "s"),
    "inconsistent in the source": (_SKY, "\\\\", "v"),
}


def new_figure(width_in: float, height_in: float, **subplots: Any) -> tuple[Figure, Any]:
    """Return a figure in the paper's style and its axes."""
    mpl.rcParams.update(mpl.rcParamsDefault)
    mpl.style.use(Path(__file__).with_name("paper.mplstyle"))
    figure = Figure(figsize=(width_in, height_in))
    return figure, figure.subplots(**subplots)


def label_panel(axes: Axes, letter: str) -> None:
    """Put a panel's letter at the upper left of its title."""
    title = axes.get_title()
    axes.set_title("")
    axes.set_title(f"({letter}) {title}", loc="left")


def label_decades(axis: Axis) -> None:
    """Label a logarithmic axis at each power of ten in digits: exponents are harder to read and drag in two more fonts."""
    axis.set_major_locator(LogLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:,.12g}"))
    axis.set_minor_formatter(NullFormatter())


def with_minus(text: str) -> str:
    """Return numbers as text with a minus sign in place of the hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def label_1_2_5(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 of each decade: over a decade or two, powers of ten are too few labels."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, output: Path) -> None:
    """Write the PDF and, beside it, the PNG; equal figures give equal bytes.

    Raises:
        RecordError: the folder cannot be written to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    # Laid out once and drawn by the canvas itself: `savefig` draws everything once more for the layout of each file.
    layout, dpi = figure.get_layout_engine(), figure.get_dpi()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    with replacing(output) as temporary:
        FigureCanvasPdf(figure).print_pdf(temporary, metadata=_NO_PDF_DATES)
    # The PDF leaves its own 72 dots an inch behind.
    figure.set_dpi(dpi)
    with replacing(output.with_suffix(".png")) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata=_NO_PNG_SOFTWARE)
