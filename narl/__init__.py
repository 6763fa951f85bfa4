"""Search the design space of noisy adversarial image obfuscators.

In Python, each imported when it is first used (`make docs` writes a page of them):

    search, best_config    search a design space, and ask for the best that a client can afford
    confirm                whether the front holds, with fresh seeds on test images
    train, evaluate        one configuration for keeps; every attack, on a client of your own too
    profile                what clients cost before any training
    load_bundle            a trained client and its server
    SearchSpace, Pipeline  what to search, and on which images
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from narl.config.pipeline import Pipeline
    from narl.config.search_space import SearchSpace
    from narl.confirmation.run import confirm
    from narl.evaluation.evaluate import evaluate
    from narl.evaluation.final import train
    from narl.export.bundle import load_bundle
    from narl.methods.profile import profile
    from narl.search.best import best_config
    from narl.search.start import search

__version__ = "0.3.0.dev0"

__all__ = ["Pipeline", "SearchSpace", "best_config", "confirm", "evaluate", "load_bundle", "profile", "search", "train"]

_HOMES = {
    "Pipeline": "narl.config.pipeline",
    "SearchSpace": "narl.config.search_space",
    "best_config": "narl.search.best",
    "confirm": "narl.confirmation.run",
    "evaluate": "narl.evaluation.evaluate",
    "load_bundle": "narl.export.bundle",
    "profile": "narl.methods.profile",
    "train": "narl.evaluation.final",
}


def __getattr__(name: str) -> Any:
    if name == "search":  # which is a package as well, see there
        return import_module("narl.search")
    if name not in _HOMES:
        raise AttributeError(f"module 'narl' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
