"""The report as one page that needs nothing else: its Markdown as HTML, the front drawn to be pointed at.

Names are escaped in the Markdown, and raw HTML in it is text, so whatever a name holds is shown.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from narl.core.files import write_whole
from narl.core.printable import printable
from narl.figures.front_page import front_figure
from narl.figures.front_picture import front_png
from narl.report.subject import Subject
from narl.report.text import FIGURE

# Plotly writes colours into each element, so those that must follow the reader's light or dark are overridden.
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --soft: #5a5a5a; --line: #d9d9d9; --tint: #f4f6f8;
  --link: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #ececec; --soft: #ababab; --line: #3a3f45;
  --tint: #20242a; --link: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; }
a { color: var(--link); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { text-align: left; color: var(--soft); font-weight: 600; }
td[style*="right"] { white-space: nowrap; }
td:first-child, th:first-child { padding-left: 0; }
tbody tr:hover { background: var(--tint); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .875rem; }
pre { background: var(--tint); padding: .8rem 1rem; overflow-x: auto; border-radius: 4px; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; }
.main-svg { background: transparent !important; }
.main-svg .bg { fill: transparent !important; }
.xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .annotation-text { fill: var(--ink) !important; }
.gridlayer path, .zerolinelayer path { stroke: var(--line) !important; }
[style*="stroke: rgb(26, 26, 26)"] { stroke: var(--ink) !important; }
@media print { body { max-width: none; } .wide { overflow: visible; } }
"""


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
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _figure(subject: Subject, picture: bytes) -> str:
    figure = front_figure(
        subject.records, subject.space.objectives, subject.name, worthless=subject.demands.with_worthless
    )
    figure.update_layout(
        title=None,  # the text tells
        margin={"t": 10, "r": 10, "b": 10, "l": 10},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        default_height="480px",
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
        div_id="front",
    )
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
