"""What training and attacks are at: one line that is rewritten on a terminal; elsewhere a line an epoch, and one every
few seconds if an epoch takes long."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from narl.cli.clock import clock
from narl.cli.heartbeat import SILENCE, heartbeat
from narl.cli.terminal import new_console


@contextmanager
def seed_progress(what: str = "", *, total: int = 1) -> Iterator[SeedProgress]:
    """Gives what shows a seed and a `narl.trial.Progress`; a failed trial becomes one line.

    Args:
        what: put before every line, say which of several configurations is at work.
        total: how many seeds there are, of all configurations together.

    Raises:
        NarlError: in place of a TrialFailure or a TrialLost.
    """
    from narl.core.errors import NarlError, TrialFailure, TrialLost

    console = new_console(stderr=True)
    with console.status("") as status:
        progress = SeedProgress(console, status, f"{what}, " if what else "", total)
        with heartbeat(progress.beat, 1.0 if console.is_terminal else SILENCE / 4):
            try:
                yield progress
            except (TrialFailure, TrialLost) as error:
                raise NarlError(f"{type(error).__name__}: {error}") from error


class SeedProgress:
    """Called with a seed and what was done of it."""

    def __init__(self, console: Console, status: Status, before: str, total: int) -> None:
        self._console, self._status, self._before, self.total = console, status, before, total
        self._started = self._spoke = time.monotonic()
        self._begun: dict[Hashable, float] = {}
        self._text = f"{before}opening the images"
        self.beat()

    def __call__(self, seed: int, step: object, where: str = "") -> None:
        """Show it.

        Args:
            where: put before the seed, say of which row it is.
        """
        self._begun.setdefault((where, seed), time.monotonic())
        which = f" ({len(self._begun)} of {self.total})" if self.total > 1 and not where else ""
        self.say(f"{where}seed {seed}{which}, {step}")

    def say(self, text: str) -> None:
        """Show what is about no single seed."""
        self._text = f"{self._before}{text}"
        if self._console.is_terminal:
            self.beat()
        else:
            self._print(self._text)

    def beat(self) -> None:
        """Show that it goes on, and for how long."""
        now = time.monotonic()
        text = f"{self._text}, {clock(now - self._started)}{self._left(now)}"
        if self._console.is_terminal:
            self._status.update(text)
        elif now - self._spoke >= SILENCE:
            self._print(f"{text} …")

    def _left(self, now: float) -> str:
        """How long the rest will take, if it is like the seeds that are done."""
        begun = sorted(self._begun.values())
        if len(begun) < 2 or self.total < 2:
            return ""
        one = (begun[-1] - begun[0]) / (len(begun) - 1)
        left = max(0.0, begun[-1] + one * (1 + self.total - len(begun)) - now)
        return f", about {clock(left)} left"

    def _print(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._console.print(text, soft_wrap=True)
