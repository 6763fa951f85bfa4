"""Where MLflow is, how it is connected to, and what it has against that."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from narl.core.addresses import without_credentials
from narl.core.errors import NarlError
from narl.core.files import first_file
from narl.storage.databases import sqlite_path, sqlite_url, with_driver

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults keep a call to a dead server waiting for minutes.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

# It would report to its makers how it is used.
QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


def default_uri() -> str:
    """Return `$MLFLOW_TRACKING_URI`, else `mlflow.db` (SQLite) in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(Path("mlflow.db"))


def connected(uri: str | None = None) -> tuple[MlflowClient, str]:
    """Connect to the MLflow at `uri` (see `default_uri`); returns a client and that address, or gives up soon."""
    for key, value in {**PATIENCE, **QUIET}.items():  # it reads them once, when it is imported
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    # A new database announces itself, which would break into the live view.
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    uri = with_driver(uri or default_uri())
    _create_database(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri), uri


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment of that name, which is made if there is none."""
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _create_database(uri: str) -> None:
    """Make a new SQLite database under another name first, so that a killed driver leaves none that is half made."""
    path = sqlite_path(uri)
    if path is None or path.exists() or not path.parent.is_dir():
        return
    from mlflow import MlflowClient

    with first_file(path) as unfinished:  # another search may begin in this folder at the same time
        MlflowClient(tracking_uri=sqlite_url(unfinished)).search_experiments(max_results=1)


def one_line(error: Exception, *addresses: str) -> str:
    """What went wrong, short and without secrets. Of a chain of wrapped connection errors only the first is news."""
    words = " ".join(str(error).split()) or type(error).__name__
    reason = re.search(r"(Connection refused|Name or service not known|timed out|No route to host)", words)
    if reason and not isinstance(error, NarlError):
        return f"no connection ({reason.group()})"
    if "Can't locate revision" in words:
        return "its database holds another program's tables, or a newer MLflow's; MLflow needs one of its own"
    return without_credentials(words, *addresses)[:300]
