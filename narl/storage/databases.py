"""Database addresses as SQLAlchemy takes them, and what databases say, in a few words."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from narl.core.addresses import shown, without_credentials
from narl.core.errors import ConfigError

# What Optuna's storages need for a database that is not SQLite.
DRIVERS = {"postgresql": ("psycopg", "narl[postgres]"), "mysql": ("MySQLdb", "mysqlclient")}
# How soon a PostgreSQL server that does not answer is given up on, in libpq's words; its own default is hours.
_PATIENCE = {
    "connect_timeout": 5,  # s
    "keepalives_idle": 30,  # s
    "keepalives_interval": 10,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms
}

# How long a PostgreSQL server waits for a lock that another holds; its own default is for ever. SQLite waits 5 s.
_LOCK_TIMEOUT = "30s"

# Of Optuna, those that every search reads and writes.
_TABLES = {"studies", "trials", "trial_params", "trial_values", "trial_user_attributes"}

_LOCKED, _DAMAGED = "another process has locked it", "it is damaged"

# What databases say, and what a person should know; the first that is found.
_REASONS = (
    ("disk is full", "the disk is full"),
    ("No space left", "the disk is full"),
    ("File too large", "the file may not grow further"),
    ("is locked", _LOCKED),
    ("LockNotAvailable", _LOCKED),
    ("DeadlockDetected", _LOCKED),
    ("Lock wait timeout", _LOCKED),
    ("Deadlock found", _LOCKED),
    ("DataCorrupted", _DAMAGED),
    ("IndexCorrupted", _DAMAGED),
    ("UndefinedFile", _DAMAGED),
    ("UndefinedTable", _DAMAGED),
    ("UndefinedColumn", _DAMAGED),
    ("marked as crashed", _DAMAGED),
    ("quick_check", _DAMAGED),
    ("readonly database", "there is no right to write to it"),
    ("disk I/O error", "the disk gives errors, or is full"),
    ("not a database", _DAMAGED),
    ("malformed", _DAMAGED),
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
    ("connection is lost", "the server closed the connection"),
    ("starting up", "the server is starting up"),
    ("shutting down", "the server is shutting down"),
    ("too many clients", "the server takes no more connections"),
    ("permission denied", "this user has no right to it"),
    ("no such table", _DAMAGED),
    ("no such column", _DAMAGED),
    ("Can't locate revision", "it holds another program's tables, or a newer version's; name a database of its own"),
)


def sqlite_url(path: Path) -> str:
    """Write the address of a file of any name: characters with a meaning in an address are quoted."""
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def sqlite_path(url: str) -> Path | None:
    """Return the file that an address names; None if it names none."""
    from sqlalchemy.engine import make_url

    database = make_url(url).database if url.startswith("sqlite:///") else None
    return Path(database) if database else None


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
    patience = [f"{name}={value}" for name, value in _PATIENCE.items() if f"{name}=" not in url]
    return url + ("&" if "?" in url else "?") + "&".join(patience) if patience else url


def engine_options(url: str) -> dict[str, Any]:
    """Choose how SQLAlchemy uses an address: connections that a restarted server closed are replaced, and a lock that
    another process holds is an error soon."""
    from sqlalchemy import event
    from sqlalchemy.pool import QueuePool

    if not url.startswith("postgresql"):
        return {}

    class Patient(QueuePool):
        """A class of its own, since Optuna makes the engine and uses it at once."""

    @event.listens_for(Patient, "connect")
    def _give_up_waiting(connection: Any, record: object) -> None:
        # Not in the address: poolers before a server refuse options there.
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
        connection.commit()

    return {"pool_pre_ping": True, "poolclass": Patient}


def check_study(url: str) -> None:
    """Refuse a study that cannot be used, before anything else is done.

    Raises:
        ConfigError: no driver, no server, wrong password, no database, a damaged or locked file, or one of MLflow's;
            the message holds no password.
    """
    import sqlalchemy

    engine = None
    try:
        address = with_driver(url)
        engine = sqlalchemy.create_engine(address, **engine_options(address))
        with engine.connect() as connection:
            tables = set(sqlalchemy.inspect(connection).get_table_names())
            if engine.name == "sqlite":
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if found != "ok":
                    raise sqlalchemy.exc.DatabaseError("PRAGMA quick_check", None, ValueError(found))
            for table in sorted(tables & _TABLES):  # a lock on one is met now, not an hour later
                connection.execute(sqlalchemy.text(f"SELECT 1 FROM {table} LIMIT 1"))
        if "experiments" in tables:  # both would keep their version in a table of one name
            raise ConfigError(f"the database at {shown(url)!r} is MLflow's: a study needs a database of its own")
    except ConfigError:
        raise
    except Exception as error:  # each database driver has errors of its own
        raise cannot_open(url, error) from error
    finally:
        if engine is not None:
            engine.dispose()


def cannot_open(url: str, error: Exception) -> ConfigError:
    """Why a study cannot be opened, without a password, and what to do about it."""
    return ConfigError(f"cannot open the study at {shown(url)!r}: {with_remedy(url, reason_of(error, url))}")


def with_remedy(url: str, reason: str) -> str:
    """Add to the reason, if the study is locked or damaged, how to get a study nevertheless."""
    if reason not in (_LOCKED, _DAMAGED):
        return reason
    anew = "move the file away" if url.startswith("sqlite") else "give another database as `study`"
    end = "end that one, or " if reason == _LOCKED else ""
    return f"{reason}: {end}{anew}, and `resume` rebuilds the study from the ledger"


def reason_of(error: Exception, url: str, *, opened: bool = False) -> str:
    """What the database at `url` has against it, in a few words and without a password.

    Args:
        opened: it was open already: what is no database's error then is about what is stored there.
    """
    if opened and isinstance(error, (ValueError, LookupError, TypeError, AttributeError, AssertionError)):
        return _DAMAGED
    text = " ".join(str(cause) for cause in _causes(error))
    for words, meaning in _REASONS:
        if words in text:
            return meaning
    first = without_credentials(str(error), url).partition("\n")[0]
    return f"{type(error).__name__}: {first[:200]}"


def _causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]
