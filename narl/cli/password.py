"""A password: from the environment or, at a terminal, asked for without echo; never an argument, which others can see."""

from __future__ import annotations

import os
import sys
import warnings
from getpass import GetPassWarning, getpass

from narl.core.errors import ConfigError
from narl.core.printable import printable


def password_of(what: str, variable: str) -> bytes:
    """Read the password of `what` from the environment variable, or else from the terminal.

    Raises:
        ConfigError: the variable is not set, and nobody is there to be asked, or says nothing.
    """
    given = os.environ.get(variable, "")
    if not given and sys.stdin is not None and sys.stdin.isatty():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", GetPassWarning)  # a terminal that would show what is typed
                given = getpass(printable(f"Password of {what}: "))
        except (EOFError, GetPassWarning):
            given = ""
    if not given:
        raise ConfigError(f"{what} has a password: give it in the environment variable {variable}, or at a terminal")
    return os.fsencode(given)
