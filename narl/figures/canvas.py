"""Where pictures are drawn: names in them are shown as they are, and a reader sees a file whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.core.files import whole_file
from narl.core.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, **options: Any) -> Figure:
    """Make a figure of so many inches, 160 pixels each; without pyplot, whose global state is unsafe among threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained", **options)
    FigureCanvasAgg(figure)
    return figure


def take_literally(figure: Figure) -> None:
    """Let no text in the figure be a formula, which `$` would begin; codes are written out."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(printable(text.get_text(), but="\n"))


def write_png(figure: Figure, path: Path | str) -> None:
    """Draw the figure into a file, in a folder that is made if it is not there."""
    take_literally(figure)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")
