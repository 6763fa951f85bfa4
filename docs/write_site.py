"""Write the site: the repository's pages and a reference printed from the code, checked by Zensical and here.

python docs/write_site.py        # or: make docs; writes build/site/

Pages keep their places, so that links between them hold in the repository too. Nothing is fetched, and what is written
fetches nothing: every warning of Zensical's (dead links between pages, missing anchors), a link to a file that is not
there, a list or a table that it takes for text, a page that nobody can navigate to and a script or picture from elsewhere
are errors.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import command_page
import configuration_page
import python_page

ROOT = Path(__file__).parents[1]
CONFIG = "zensical.toml"
COPIED = ("*.md", "docs/**/*.md", "docs/**/*.png", "docs/**/*.log", "docs/*.css", "examples/**/*.py")
REFERENCE = {"commands": command_page, "configuration": configuration_page, "python": python_page}
# Addresses in a page, with the name of their element: `a` is followed by a reader, others are fetched as it is opened.
ADDRESS = re.compile(r"""<(a|script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?([^"' >#?]+)""")
# A line of a list or a table in a paragraph: code hosts read it as one where this Markdown wants a line before it.
TAKEN_FOR_TEXT = re.compile(r"<p>(?:(?!</p>)[^\0])*?\n *((?:[-*]|\d+\.|\|) [^\n]{,60})")


def main() -> int:
    folder = ROOT / "build"
    gather_pages(folder / "pages")
    shutil.copyfile(ROOT / CONFIG, folder / CONFIG)
    if wrong := write_site(folder):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    print(f"wrote {(folder / 'site').relative_to(ROOT)}/index.html; to search it, too:")
    print(f"    python -m http.server --bind 127.0.0.1 --directory {(folder / 'site').relative_to(ROOT)}")
    return 0


def gather_pages(pages: Path) -> None:
    """Copy what is written by hand into this folder, and print the rest."""
    shutil.rmtree(pages, ignore_errors=True)
    for path in (path for pattern in COPIED for path in ROOT.glob(pattern)):
        copy = pages / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (pages / "docs" / "reference").mkdir()
    for name, printed in REFERENCE.items():
        (pages / "docs" / "reference" / f"{name}.md").write_text(printed.page(), encoding="utf-8")


def write_site(folder: Path) -> list[str]:
    """Turn `pages/` into `site/`, as the folder's zensical.toml says; returns what is wrong with them, if anything."""
    shutil.rmtree(folder / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", folder / CONFIG]
    done = subprocess.run(command, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)
    if done.returncode:  # its warnings, then a traceback that says only that there were some
        return [(done.stdout + done.stderr).partition("Traceback")[0].strip() or done.stderr]
    return [*out_of_navigation(folder), *wrong_addresses(folder / "site"), *taken_for_text(folder / "site")]


def out_of_navigation(folder: Path) -> list[str]:
    """Pages that the navigation does not name, and names in it that are no page."""
    nav = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))["project"]["nav"]
    pages, named = folder / "pages", set(_named_in(nav))
    there = {path.relative_to(pages).as_posix() for path in pages.rglob("*.md")}
    return [
        *(f"{page}: the nav of {CONFIG} does not name it" for page in sorted(there - named)),
        *(f"{CONFIG}: nav names {page}, which is not there" for page in sorted(named - there)),
    ]


def _named_in(entries: list[dict[str, Any]]) -> Iterator[str]:
    for value in (value for entry in entries for value in entry.values()):
        yield from [value] if isinstance(value, str) else _named_in(value)


def wrong_addresses(site: Path) -> Iterator[str]:
    """What pages would fetch from other hosts, and files that they name in vain."""
    for page in sorted(site.rglob("*.html")):
        for element, address in ADDRESS.findall(page.read_text(encoding="utf-8")):
            where = urlsplit(html.unescape(address))
            if where.scheme or where.netloc:
                if element != "a":
                    yield f"{page.relative_to(site)}: fetches {address}"
            elif not (page.parent / unquote(where.path)).exists() and page.name != "404.html":
                yield f"{page.relative_to(site)}: {address} is not there"


def taken_for_text(site: Path) -> Iterator[str]:
    """Lists and tables that are none on the page."""
    for page in sorted(site.rglob("*.html")):
        for line in TAKEN_FOR_TEXT.findall(page.read_text(encoding="utf-8")):
            yield f"{page.relative_to(site)}: no list or table, but text: {line}"


if __name__ == "__main__":
    sys.exit(main())
