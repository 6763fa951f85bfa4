"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from narl.core.errors import ConfigError


def user_path(place: str | Path) -> Path:
    """Write out `~` in a path, also where no shell has done it: in files, variables and `--runs=~/x`.

    Raises:
        ConfigError: nobody has that home folder, or it is not a path at all.
    """
    if not str(place) or "\0" in str(place):
        raise ConfigError(f"expected a path, got {str(place)!r}")
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{str(place)!r}: {str(error).lower().rstrip('.')}") from error


def resolved(path: Path) -> Path:
    """Make a path absolute and free of links.

    Raises:
        ConfigError: a link that leads to itself.
    """
    try:
        return path.resolve()
    except (RuntimeError, OSError) as error:
        raise ConfigError(f"{path}: {error}") from error
