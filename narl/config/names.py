"""Names of columns and classes, compared regardless of how Unicode spells them."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator


def composed(name: str) -> str:
    """Write the name in Unicode's normal form C: é is always one character."""
    return unicodedata.normalize("NFC", name)


Name = Annotated[str, AfterValidator(composed)]
