"""The search of a design space. As `narl.search` is a function too, this package can be called: see `start.search`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Python sets the name of an imported package in its parent, over whatever had that name there."""

    @property
    def __wrapped__(self) -> Any:
        from narl.search.start import search

        return search

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
