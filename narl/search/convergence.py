"""When a search has found what it can tell from luck: `stop: converged`."""

from __future__ import annotations

from narl.sampler.outlook import Outlook

# So many proposals in a row must be expected to gain no more than luck: the model may err once.
PATIENCE = 10


class Convergence:
    """Counts proposals from which nothing is expected."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def hear(self, outlook: Outlook | None) -> None:
        """Hear of a proposal; None: it was made without a model, and says nothing."""
        if outlook is not None:
            self._in_a_row = self._in_a_row + 1 if outlook.is_within_luck else 0

    @property
    def reached(self) -> bool:
        return self._in_a_row >= PATIENCE
