"""Database addresses as SQLAlchemy takes them, and what databases say, in a few words."""

from __future__ import annotations

import importlib.util
import re

from narl.errors import ConfigError, without_credentials

# What Optuna's storages need for a database that is not SQLite.
DRIVERS = {"postgresql": ("psycopg", "narl[postgres]"), "mysql": ("MySQLdb", "mysqlclient")}
POSTGRES_WAIT_SECONDS = 5

# What databases say, and what a person should know; the first that is found.
_REASONS = (
    ("disk is full", "the disk is full"),
    ("No space left", "the disk is full"),
    ("is locked", "another process has locked it"),
    ("not a database", "the file is damaged; move it away, and the ledger rebuilds it"),
    ("malformed", "the file is damaged; move it away, and the ledger rebuilds it"),
    ("unable to open database file", "the file cannot be opened"),
    ("password authentication failed", "user or password is wrong"),
    ("no password supplied", "a password is needed"),
    ("does not exist", "there is no such database or user"),
    ("Connection refused", "no server answers there"),
    ("timeout expired", "no server answers there"),
    ("could not translate host", "no such host"),
    ("failed to resolve host", "no such host"),
    ("server closed the connection", "the server closed the connection"),
    ("terminating connection", "the server closed the connection"),
)


def with_driver(url: str) -> str:
    """The URL as SQLAlchemy takes it: PostgreSQL by psycopg 3, and a server that does not answer is given up on soon.

    Raises:
        ConfigError: the database's driver is not installed.
    """
    kind = re.match(r"(\w+)(\+\w+)?:", url)
    if kind is None or kind[1] not in DRIVERS:
        return url
    module, package = DRIVERS[kind[1]]
    if kind[2] is None and importlib.util.find_spec(module) is None:
        raise ConfigError(f"a {kind[1]} address needs {module}, which is not installed: pip install '{package}'")
    if kind[1] != "postgresql":
        return url
    if kind[2] is None:
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    if "connect_timeout" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout={POSTGRES_WAIT_SECONDS}"


def reason_of(error: Exception) -> str:
    """What a database has against it, in a few words and without a password."""
    text = " ".join(str(cause) for cause in _causes(error))
    for words, meaning in _REASONS:
        if words in text:
            return meaning
    return f"{type(error).__name__}: {without_credentials(str(error)).splitlines()[0][:200] if str(error) else ''}"


def _causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]
