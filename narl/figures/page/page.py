"""A search as one page that needs nothing else: the front to be pointed at, and below it what led there.

In MLflow a point leads to its trial's run. MLflow shows a page in a frame that may neither open windows nor leave
itself, except where the reader asks the browser for a new tab.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from narl.core.files import write_whole
from narl.core.printable import printable
from narl.core.records import TrialRecord
from narl.figures.front_view import FrontView, front_view
from narl.figures.page import hypervolume, learning, parallel, sigma, splits
from narl.figures.page.fragment import fragment
from narl.figures.page.front import front_figure
from narl.figures.page.members import which
from narl.figures.page.style import STYLE

_OWN_STYLE = """
body { padding-top: .8rem; }
h1 { font-size: 1.3rem; margin-bottom: .3rem; }
h2 { font-size: 1.1rem; margin-top: 1.6rem; }
p { margin: .3rem 0; color: var(--soft); font-size: .9rem; }
.wide > div { min-width: 44rem; }
#picked { background: var(--tint); padding: .6rem .8rem; border-radius: 4px; font-size: .9rem; }
#picked:empty { display: none; }
.parcoords text { fill: var(--ink) !important; text-shadow: none !important; }
.parcoords .axis-extent { display: none; }
"""
# The address of the page within MLflow's frame tells the server's: blob:http://host:port/….
_SCRIPT = """
const runs = JSON.parse(document.getElementById("runs").textContent);
const server = (location.href.match(/^blob:(https?:\\/\\/[^/]+)\\//) || [])[1];
const framed = window.origin === "null";
for (const name of ["front", "splits"]) {
  const figure = document.getElementById(name);
  if (!figure) continue;
  figure.on("plotly_click", ({points: [point]}) => {
    if (point.customdata === undefined) return;
    const picked = document.getElementById("picked");
    picked.innerHTML = point.text || `trial ${point.customdata}`;  // escaped where it was made
    const address = runs[point.customdata];
    if (!server || !address) return;
    const link = document.createElement("a");
    Object.assign(link, {href: `${server}/${address}`, target: "_blank", rel: "noopener"});
    link.textContent = `the run of trial ${point.customdata}`;
    picked.append(document.createElement("br"), link);
    if (framed) picked.append(": Ctrl-click (⌘-click) opens it in a new tab");
    picked.scrollIntoView({block: "nearest"});
  });
}
"""


def search_page(
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    title: str,
    *,
    worthless: bool = False,
    x: str | None = None,
    runs: Mapping[int, str] | None = None,
) -> str:
    """Make the page (5 MB, nearly all of it plotly.js).

    Args:
        records: everything in the ledger.
        worthless, x: see `narl.figures.front_view.front_view`.
        runs: the address of each trial's run within MLflow's pages, by trial id.
    """
    view = front_view(records, objectives, worthless, x)
    name = escape(printable(title), quote=False)
    caption = "".join(f"<p>{escape(printable(line), quote=False)}.</p>\n" for line in view.caption)
    body = "\n".join(_sections(view, records, objectives, worthless=worthless))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}{_OWN_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{name}</h1>\n{caption}{body}\n</main>\n"
        f'<script type="application/json" id="runs">{_json(dict(runs or {}))}</script>\n'
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def write_search_page(
    path: Path,
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    title: str,
    *,
    worthless: bool = False,
    x: str | None = None,
    runs: Mapping[int, str] | None = None,
) -> None:
    """Write `search_page` to a file, in a folder that is made if it is not there.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, search_page(records, objectives, title, worthless=worthless, x=x, runs=runs))


def _sections(
    view: FrontView, records: Sequence[TrialRecord], objectives: Sequence[str], *, worthless: bool
) -> Iterator[str]:
    yield (
        "<p>A point is a trial; its size is the client's memory, a strong rim means the front. Click for its numbers; "
        "above the figure, choose what Δ is drawn against.</p>"
    )
    yield fragment(front_figure(view), "front", with_plotly=True, height=520)
    yield '<div id="picked" aria-live="polite"></div>'
    if not view.complete:
        return
    yield _section("Parallel coordinates", parallel.CAPTION)
    yield f'<div class="wide">{fragment(parallel.parallel_figure(view), "parallel", margin=parallel.MARGIN)}</div>'
    yield _section("Δ by split point", splits.CAPTION)
    yield fragment(splits.splits_figure(view), "splits")
    yield _section("Hypervolume over compute", hypervolume.CAPTION)
    yield fragment(hypervolume.hypervolume_figure(records, objectives, worthless=worthless), "hypervolume", height=360)
    if learning.curve_names(view):
        yield _section("Learning curves of the front", f"{which(view)} {learning.CAPTION}")
        yield fragment(learning.learning_figure(view), "learning")
    if sigma.has_profiles(view):
        yield _section("Other noise for the front", f"{which(view)} {sigma.CAPTION}")
        yield fragment(sigma.sigma_figure(view), "sigma")


def _section(head: str, caption: str) -> str:
    return f"<h2>{head}</h2>\n<p>{caption}</p>"


def _json(value: object) -> str:
    """Write JSON that cannot end a script."""
    return json.dumps(value).replace("<", "\\u003c")
