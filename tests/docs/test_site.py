"""The site of `make docs`: built strictly, whole, and readable on a phone without asking any other host."""

from __future__ import annotations

import functools
import html
import importlib
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import MISSING, chromium
from pydantic import BaseModel

import narl
from narl.cli.main import COMMANDS
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.core.method_options import METHODS

pytest.importorskip("zensical", reason="the site is built by zensical: pip install '.[docs]'")
ROOT = Path(__file__).parents[2]
in_a_browser = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def writer():
    """docs/write_site.py and what it imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module("write_site")


@pytest.fixture(scope="module")
def built(writer, tmp_path_factory):
    """The folder of the site, and what was wrong with it."""
    folder = tmp_path_factory.mktemp("docs")
    writer.gather_pages(folder / "pages")
    shutil.copyfile(ROOT / "zensical.toml", folder / "zensical.toml")
    return folder / "site", writer.write_site(folder)


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


# --- the build is strict ---


def test_nothing_is_wrong(built):
    site, wrong = built
    assert wrong == []
    assert (site / "index.html").is_file()


@pytest.mark.parametrize(
    ("page", "others", "message"),
    [
        ("[dead](absent.md)", {}, "page does not exist"),
        ("[dead](two.md#absent)", {}, "anchor does not exist"),
        ("![dead](absent.png)", {}, "index.html: absent.png is not there"),
        ("[dead](absent.py)", {}, "index.html: absent.py is not there"),
        ("text\n- a list", {}, "index.html: no list or table, but text: - a list"),
        ("text\n| a | b |\n|---|---|\n| 1 | 2 |", {}, "index.html: no list or table, but text: | a | b |"),
        ("fine", {"three.md": "# Three"}, "three.md: the nav"),
        ("fine", {"two.md": None}, "two.md"),
        ('<script src="https://elsewhere.example/a.js"></script>', {}, "fetches https://elsewhere.example/a.js"),
        ("![far](https://elsewhere.example/a.png)", {}, "fetches https://elsewhere.example/a.png"),
    ],
)
def test_a_mistake_is_told(writer, tmp_path, page, others, message):
    config = 'site_name = "x"\ndocs_dir = "pages"\nsite_dir = "site"\nuse_directory_urls = false\n'
    config += 'nav = [{ "One" = "index.md" }, { "More" = [{ "Two" = "two.md" }] }]\ntheme.font = false\n'
    (tmp_path / "zensical.toml").write_text(f"[project]\n{config}")
    (tmp_path / "pages").mkdir()
    for name, text in ({"index.md": f"# One\n\n{page}\n", "two.md": "# Two\n"} | others).items():
        if text is not None:
            (tmp_path / "pages" / name).write_text(text)
    assert message in "\n".join(writer.write_site(tmp_path))


# --- the reference is whole ---


def test_every_command_is_there_with_every_argument(built, writer):
    page = built[0] / "docs" / "reference" / "commands.html"
    source, shown = page.read_text(encoding="utf-8"), text_of(page)
    parsers = dict(writer.command_page.commands())
    assert {prog.split()[1] for prog in parsers} == set(COMMANDS)
    for prog, parser in parsers.items():
        assert f'id="{prog.replace(" ", "-")}"' in source
        for action in parser._actions:
            assert action.help, f"{prog}: {action.dest} has no help"
            assert all(flag in shown for flag in action.option_strings)


def test_every_name_in_python_is_there(built, writer):
    page = text_of(built[0] / "docs" / "reference" / "python.html")
    assert list(writer.python_page.homes_of_names()) == narl.__all__
    for name in narl.__all__:
        assert re.search(rf"^narl\.{name}\b.*\n(.*\n)?(def|class) {name}\(", page, re.MULTILINE), name


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model that files may hold, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for inner in getattr(annotation, "__args__", ()):
        yield from models_in(inner)


def test_every_key_is_there_with_its_meaning(built, writer):
    page = (built[0] / "docs" / "reference" / "configuration.html").read_text(encoding="utf-8")
    models = {*models_in(SearchSpace), *models_in(TrainConfig)}
    assert models == set(writer.configuration_page.TITLES)
    for model in models:
        keys = {key.name: key for key in writer.configuration_page.keys(model)}
        assert set(keys) == {field.alias or name for name, field in model.model_fields.items()}
        for key in keys.values():
            assert key.meaning, f"{model.__name__}: {key.name} is not explained"
            assert re.search(rf"<dt><code>{re.escape(key.name)}</code>", page), f"{model.__name__}: {key.name}"
    for method, options in METHODS.items():
        assert f'id="{method}"' in page
        assert all(f"<dt><code>{setting}</code>" in page for setting in options.settings)


# --- as it is read ---


@pytest.fixture(scope="module")
def address(built):
    """The site on a server of this machine."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(built[0])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_fits_its_window_finds_a_key_and_asks_nobody_else(address, width):
    with chromium() as browser:
        browser.like(width=width)
        for page in ("index.html", "docs/reference/configuration.html", "docs/results.html"):
            browser.open(f"{address}/{page}")
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), page
            blocks = "[...document.querySelectorAll('pre > code')]"
            assert width < 1280 or browser.run(
                f"return {blocks}.every(code => code.scrollWidth <= code.clientWidth)"
            ), page
        browser.run("document.querySelector('.md-search__button').click()")
        dialog = "[...document.querySelectorAll('*')].find(element => element.shadowRoot)?.shadowRoot"
        browser.wait_for(f"{dialog}?.querySelector('input')")
        browser.run(f"""
            const field = {dialog}.querySelector('input');
            field.value = 'sigma_inference';
            field.dispatchEvent(new Event('input', {{bubbles: true}}));""")
        browser.wait_for(f"{dialog}.querySelector('a[href*=configuration]')")
        asked = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert asked and all(name.startswith(address) for name in asked)
