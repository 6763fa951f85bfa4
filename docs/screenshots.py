"""Take the pictures of docs/tour.md: pages of the embedded search, in the browser of the tests.

    mkdir tour && cd tour && narl search ../search_spaces/digits.yaml && cd ..     # five minutes on two cores
    python docs/screenshots.py tour                                                # half a minute

The folder holds `narl-runs/digits` and the `mlflow.db` that the search wrote. Needs chromium and its chromedriver.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from browser import MISSING, Browser, chromium  # noqa: E402

PICTURES = ROOT / "docs" / "tour"
ASSISTANT = '[data-component-id="mlflow.assistant.chat_panel.close"]'
COLOURS = 128  # of a picture: pages of text and lines need no more, and a third of the bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where narl search ran")
    folder = parser.parse_args().folder.resolve()
    if MISSING or not (folder / "narl-runs" / "digits").is_dir():
        parser.error(MISSING or f"{folder} has no narl-runs/digits")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        front, report = Path(place) / "front.html", Path(place) / "report"
        narl(folder, "pareto", "--figure", str(front))
        narl(folder, "report", "--out", str(report))

        browser.like(width=1280, height=900)
        browser.open(front.as_uri())
        browser.wait_for("document.querySelector('#front .points path')")
        take(browser, "front")
        browser.open((report / "report.html").as_uri())
        browser.wait_for("document.querySelector('.points path')")
        take(browser, "report")
        browser.run(
            "[...document.querySelectorAll('h2')].find(each => each.innerText.includes('noise')).scrollIntoView()"
        )
        take(browser, "report_noise")
        browser.like(width=390, height=844)
        browser.open((report / "report.html").as_uri())
        browser.wait_for("document.querySelector('.points path')")
        take(browser, "report_phone")

        browser.like(width=1280, height=900)
        with ui(folder) as (search, _, table):
            browser.open(search)
            browser.wait_for("document.body.innerText.includes('Read parity, hide digit')")
            browser.wait_for(f"document.querySelector({ASSISTANT!r})")
            browser.click(ASSISTANT)  # MLflow opens it once, beside what was asked for
            browser.run("[...document.querySelectorAll('button')].find(each => each.innerText == 'Show more').click()")
            take(browser, "mlflow_search")
            browser.open(table)
            browser.wait_for("document.querySelector('[col-id*=\"Run Name\"] a')")
            take(browser, "mlflow_front")
    return 0


def narl(folder: Path, *argv: str) -> None:
    subprocess.run([sys.executable, "-m", "narl", *argv], cwd=folder, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def ui(folder: Path) -> Iterator[tuple[str, str, str]]:
    """The addresses that `narl ui` prints, while it serves."""
    command = [sys.executable, "-m", "narl", "ui", "digits"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            search, figures, table, _ = (process.stdout.readline().split()[-1] for _ in range(4))
            yield search, figures, table
        finally:
            process.terminate()


def take(browser: Browser, name: str) -> None:
    """Keep what the window shows once it has stopped moving."""
    before = b""
    while (picture := browser.picture()) != before:
        before = picture
        browser.run("const until = Date.now() + 700; while (Date.now() < until);")
    path = PICTURES / f"{name}.png"
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    sys.exit(main())
