"""The report as one page that needs nothing else: its Markdown as HTML, its figures drawn to be pointed at.

Names are escaped in the Markdown, and raw HTML in it is text, so whatever a name holds is shown.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.core.files import write_whole
from narl.core.printable import printable
from narl.core.sigma_choice import trained_and_used
from narl.figures.front_picture import front_png
from narl.figures.front_view import front_view
from narl.figures.page.fragment import HEIGHT, fragment
from narl.figures.page.front import front_figure
from narl.figures.page.sigma_profile import HEIGHT_OF_TWO, profile_figure
from narl.figures.page.style import STYLE
from narl.figures.sigma_profile import sigma_profile_png
from narl.report.noise import PROFILE, profiled
from narl.report.subject import Subject
from narl.report.text import FIGURE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def page(subject: Subject, text: str, pictures: Mapping[str, bytes]) -> str:
    """Make the page.

    Args:
        text: of `narl.report.text.report_text`.
        pictures: its figures as PNG by name, for readers without JavaScript.
    """
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    with_plotly = True
    for name, draw, height in ((FIGURE, _front, HEIGHT), (PROFILE, _profile, HEIGHT_OF_TWO)):
        before, marker, after = body.partition(f'<p><img src="{name}"')
        if marker:
            attributes, _, after = after.partition("</p>")
            drawn = fragment(draw(subject), name.removesuffix(".png"), with_plotly=with_plotly, height=height)
            still = f'<img src="data:image/png;base64,{base64.b64encode(pictures[name]).decode()}"{attributes}'
            body = f"{before}<figure>\n{drawn}\n<noscript>{still}</noscript>\n</figure>{after}"
            with_plotly = False
    title = escape(printable(f"{subject.name}: report of the search"), quote=False)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _front(subject: Subject) -> Figure:
    worthless = subject.demands.with_worthless
    return front_figure(front_view(subject.records, subject.space.objectives, worthless=worthless))


def _profile(subject: Subject) -> Figure:
    return profile_figure(**_profile_of(subject))


def _profile_of(subject: Subject) -> dict[str, Any]:
    """What both figures of the chosen client's profile are drawn of."""
    record = profiled(subject)
    assert record is not None
    trained, used = trained_and_used(record)
    floor, nothing = record.measured.label_floor, subject.nothing
    return {
        "profile": record.measured.sigma_profile,
        "trained": trained,
        "used": used,
        "label_floor": floor,
        "nothing": None if nothing is None else nothing.delta,
    }


def write_report(subject: Subject, text: str, folder: Path) -> list[Path]:
    """Write report.md, the pictures beside it and report.html; returns them, the page last.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [folder / FIGURE]
    worthless = subject.demands.with_worthless
    front_png(subject.records, subject.space.objectives, subject.name, pictures[0], worthless=worthless)
    if (record := profiled(subject)) is not None:
        pictures.append(folder / PROFILE)
        title = f"{record.config.client} ({record.trial_id}) with other noise"
        sigma_profile_png(title=title, path=pictures[1], reported_on="validation", **_profile_of(subject))
    write_whole(folder / "report.md", text)
    drawn = {picture.name: picture.read_bytes() for picture in pictures}
    write_whole(folder / "report.html", page(subject, text, drawn))
    return [*pictures, folder / "report.md", folder / "report.html"]
