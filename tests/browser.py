"""A real browser: headless Chromium, driven over the WebDriver protocol (W3C) by the chromedriver that comes with it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

DRIVER, BINARY = shutil.which("chromedriver"), shutil.which("chromium")
MISSING = "" if DRIVER and BINARY else "there is no chromium with its chromedriver (Debian: chromium-driver)"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of a reference, by the standard


class Browser:
    """A window. Every call waits for its answer."""

    def __init__(self, server: str, session: str):
        self._session = f"{server}/session/{session}"

    def open(self, address: str) -> None:
        _call(f"{self._session}/url", {"url": address})

    def run(self, script: str) -> Any:
        """The value that a function with this body returns, in the frame that is looked into."""
        return _call(f"{self._session}/execute/sync", {"script": script, "args": []})

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """The expression's value, once it is true."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(urllib.error.HTTPError):  # what it asks about is not there yet
                if value := self.run(f"return {expression}"):
                    return value
            if time.monotonic() > deadline:
                text = self.run("return document.body.innerText")
                raise AssertionError(f"{expression} is not so after {seconds:g} s of {text[:2000]}")
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        """Move the mouse onto the middle of this element, and press."""
        found = _call(f"{self._session}/element", {"using": "css selector", "value": selector})
        onto = {"type": "pointerMove", "origin": {_ELEMENT: found[_ELEMENT]}, "duration": 100}
        steps = [{**onto, "x": 20, "y": 20}, {**onto, "x": 0, "y": 0}, {"type": "pause", "duration": 300}]
        steps += [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        _call(f"{self._session}/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    def look_into(self, selector: str) -> None:
        """What follows is about the document in this frame."""
        self.wait_for(f"document.querySelector({selector!r})")
        found = _call(f"{self._session}/element", {"using": "css selector", "value": selector})
        _call(f"{self._session}/frame", {"id": {_ELEMENT: found[_ELEMENT]}})

    def like(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Be a window of this size, in pixels, of somebody who prefers this scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._tell("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", {"features": [scheme]})

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(_call(f"{self._session}/screenshot", None, method="GET"))

    def _tell(self, command: str, parameters: dict) -> None:
        _call(f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that knows nobody, and is gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{probe.getsockname()[1]}"
    driver = subprocess.Popen([DRIVER, f"--port={server.rpartition(':')[2]}"], stdout=subprocess.DEVNULL)
    try:
        _until_it_answers(f"{server}/status")
        # Root, as in a container, has no sandbox; there is no GPU to draw WebGL with.
        options = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader"]
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"binary": BINARY, "args": options}}}}
        session = _call(f"{server}/session", wanted)["sessionId"]
        try:
            yield Browser(server, session)
        finally:
            _call(f"{server}/session/{session}", None, method="DELETE")
    finally:
        driver.terminate()
        driver.wait()


def _until_it_answers(address: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers at {address}"
            time.sleep(0.05)


def _call(address: str, content: Any, method: str = "POST") -> Any:
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]
