"""Other projects' searches, each asked and told through its own public interface; none is a dependency of narl."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import cast

from benchmarks.recorded.replay import Search
from narl.search.space import AffordableSpace


@dataclass(frozen=True)
class Peer:
    """Where a search comes from.

    Attributes:
        file: in this package; its `search(space)` begins one, with the seed and the objectives of the space.
        imports: the module that it needs beside narl.
        package: what PyPI calls that.
    """

    file: str
    imports: str
    package: str

    @property
    def missing(self) -> str | None:
        """What to do if its package is not installed."""
        if importlib.util.find_spec(self.imports) is not None:
            return None
        return f"pip install {self.package}, in an environment beside narl's own"

    def search(self, space: AffordableSpace) -> Search:
        """Begin one."""
        return cast(Search, importlib.import_module(f"{__name__}.{self.file}").search(space))


PEERS = {
    "OptunaSearch": Peer("optuna_search", "optuna", "optuna"),
    "MO-ASHA": Peer("mo_asha", "syne_tune", "syne-tune"),
    "PriMO": Peer("primo", "neps", "neural-pipeline-search"),
    "qLogNEHVI": Peer("qlognehvi", "botorch", "botorch"),
}
