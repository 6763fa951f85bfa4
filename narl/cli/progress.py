"""A line of progress an epoch of training or attack: rewritten in place on a terminal, one after another elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from narl.cli.terminal import new_console


@contextmanager
def seed_progress(what: str = "") -> Iterator[Callable]:
    """Gives a function of a seed and a `narl.trial.Progress` that shows both; a failed trial becomes one line.

    Args:
        what: put before every line, say which of several configurations is at work.

    Raises:
        NarlError: in place of a TrialFailure or a TrialLost.
    """
    from narl.core.errors import NarlError, TrialFailure, TrialLost

    console = new_console(stderr=True)
    before = f"{what}, " if what else ""
    with console.status(f"{before}opening the images") as status:

        def show(seed, step, where: str = "") -> None:
            text = f"{before}{where}seed {seed}, {step}"
            if console.is_terminal:
                status.update(text)
            else:
                console.print(text, soft_wrap=True)

        try:
            yield show
        except (TrialFailure, TrialLost) as error:
            raise NarlError(f"{type(error).__name__}: {error}") from error
