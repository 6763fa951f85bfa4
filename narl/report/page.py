"""The report as one page that needs nothing else: its Markdown as HTML, the front drawn to be pointed at.

Names are escaped in the Markdown, and raw HTML in it is text, so whatever a name holds is shown.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from narl.core.files import write_whole
from narl.core.printable import printable
from narl.figures.front_picture import front_png
from narl.figures.front_view import front_view
from narl.figures.page.fragment import fragment
from narl.figures.page.front import front_figure
from narl.figures.page.style import STYLE
from narl.report.subject import Subject
from narl.report.text import FIGURE


def page(subject: Subject, text: str, picture: bytes) -> str:
    """Make the page.

    Args:
        text: of `narl.report.text.report_text`.
        picture: the front as PNG, for readers without JavaScript.
    """
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    before, marker, after = body.partition(f'<p><img src="{FIGURE}"')
    if marker:
        figure = _figure(subject, picture)
        body = before + figure + after.partition("</p>")[2]
    title = escape(printable(f"{subject.name}: report of the search"), quote=False)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _figure(subject: Subject, picture: bytes) -> str:
    figure = front_figure(
        front_view(subject.records, subject.space.objectives, worthless=subject.demands.with_worthless)
    )
    drawn = fragment(figure, "front", with_plotly=True)
    still = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    image = f'<img src="{still}" alt="Δ against client compute and memory">'
    return f"<figure>\n{drawn}\n<noscript>{image}</noscript>\n</figure>\n"


def write_report(subject: Subject, text: str, folder: Path) -> list[Path]:
    """Write report.md, the picture beside it and report.html; returns them, the page last.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / FIGURE
    front_png(
        subject.records, subject.space.objectives, subject.name, picture, worthless=subject.demands.with_worthless
    )
    write_whole(folder / "report.md", text)
    write_whole(folder / "report.html", page(subject, text, picture.read_bytes()))
    return [picture, folder / "report.md", folder / "report.html"]
