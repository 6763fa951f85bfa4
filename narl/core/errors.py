"""What a user can get wrong, and what a trial can die of, as named exceptions.

Every message says what was given, what is allowed and, where there is one, the nearest name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# What reading a damaged file of JSON raises: not JSON or nested too deeply, and what is in it of another kind than expected.
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)

# Characters of a message: whatever it quotes, a person can read it.
LONGEST_MESSAGE = 4_000


class NarlError(Exception):
    """A mistake in what narl was given. The command line prints the message and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message, LONGEST_MESSAGE))


class ConfigError(NarlError):
    """A configuration file or value that is not legal."""


class DataError(NarlError):
    """Images, labels or a dataset file that cannot be used as asked."""


class NothingFeasible(NarlError):
    """The question was fine, and the honest answer is that nothing recorded fits it."""

    exit_code = 1


class TrialFailure(Exception):
    """A trial that ended without a result. The search records it and goes on."""


class DivergedTraining(TrialFailure):
    """A loss became non-finite or left every plausible range."""


class UnusableFeatures(TrialFailure):
    """A client whose features say nothing of the image, or are no numbers that float32 can hold."""


class DoesNotFit(TrialFailure):
    """A GPU's memory does not hold the configuration's networks, however small the parts of a batch."""


class TrialLost(Exception):
    """A trial that ended through no fault of its configuration. It is put back and runs again."""


class WorkerLost(TrialLost):
    """A process that took part in a trial died, or another process left it no memory."""


class NodeFault(TrialLost):
    """The node lacks something that every trial needs: no trial can run there."""


def shortened(text: str, most: int = 200) -> str:
    """Shorten the text to at most so many characters."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def some_of(faults: Sequence[str], shown: int = 10) -> str:
    """List the first of many faults, and say how many more there are."""
    more = [f"and {len(faults) - shown} more"] if len(faults) > shown else []
    return "; ".join([*faults[:shown], *more])


def did_you_mean(given: object, allowed: Iterable[object]) -> str:
    """Write `"; did you mean 'x'?"` for the nearest allowed name, or an empty string."""
    near = difflib.get_close_matches(str(given)[:200], [str(name) for name in allowed], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_name(what: str, given: object, allowed: Iterable[object]) -> str:
    """Write a full message for a name that is not one of `allowed`."""
    names = [str(name) for name in allowed]
    return f"unknown {what} {shortened(str(given))!r}: allowed are {', '.join(names)}{did_you_mean(given, names)}"
