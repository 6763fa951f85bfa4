"""Names of columns and classes, which are the same however Unicode spells them."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator


def composed(name: str) -> str:
    """The name in Unicode's normal form C: é is one character, whoever wrote it."""
    return unicodedata.normalize("NFC", name)


Name = Annotated[str, AfterValidator(composed)]
