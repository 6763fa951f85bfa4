"""MLflow's own server for a database, on loopback alone, for as long as somebody looks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from narl.core.errors import ConfigError, NarlError
from narl.storage.databases import sqlite_path, sqlite_url
from narl.tracking.connection import one_line

HOST = "127.0.0.1"
USUAL_PORT = 5000  # MLflow's own
STARTS_WITHIN = 120.0  # seconds
ENDS_WITHIN = 10.0  # seconds
# One process that answers instead of four, none that runs jobs, and no word to anybody outside.
_SETTINGS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True)
class Serving:
    """A server that answers at `address`, `http://127.0.0.1:PORT`."""

    address: str
    _process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Return if the server ends."""
        self._process.wait()


@contextmanager
def mlflow_server(uri: str, port: int | None = None) -> Iterator[Serving]:
    """Run `mlflow server` for the database at `uri`; yields it once it answers.

    Nothing of it is left when the context ends.

    Args:
        port: by default 5000, or any other if that is taken.

    Raises:
        ConfigError: the port is taken.
        NarlError: the server does not start.
    """
    port = _free(USUAL_PORT if port is None else port, or_any=port is None)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    database = sqlite_path(uri)
    if database is not None:
        uri = sqlite_url(database.absolute())
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            # An address may hold a password, which the command line would show to everybody on this machine.
            env={**os.environ, **_SETTINGS, "MLFLOW_BACKEND_STORE_URI": uri},
            cwd=None if database is None else database.absolute().parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the driver alone, which then ends the server
        )
        try:
            address = f"http://{HOST}:{port}"
            _wait_until_it_answers(process, address, log, uri)
            yield Serving(address, process)
        finally:
            _end(process)


def _free(port: int, *, or_any: bool) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if or_any:
                return _free(0, or_any=False)
            raise ConfigError(f"port {port} of {HOST}: {error.strerror or error}") from error
        return int(probe.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: IO[bytes], uri: str) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return
        time.sleep(0.1)
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()
    reason = one_line(NarlError(said[-1] if said else "it says nothing"), uri)
    state = f"does not answer after {STARTS_WITHIN:g} s" if process.poll() is None else "ended"
    raise NarlError(f"MLflow's server {state}: {reason}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started, at once if it takes too long."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(ENDS_WITHIN)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
