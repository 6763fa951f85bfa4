"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from narl.core.errors import ConfigError


def user_path(place: str | Path) -> Path:
    """The path with `~` written out, also where no shell has done it: in files, variables and `--runs=~/x`.

    Raises:
        ConfigError: nobody has that home folder, or it is no path at all.
    """
    if not str(place) or "\0" in str(place):
        raise ConfigError(f"expected a path, got {str(place)!r}")
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{str(place)!r}: {str(error).lower().rstrip('.')}") from error


def resolved(path: Path) -> Path:
    """The absolute path without links.

    Raises:
        ConfigError: a link that leads to itself.
    """
    try:
        return path.resolve()
    except (RuntimeError, OSError) as error:
        raise ConfigError(f"{path}: {error}") from error
