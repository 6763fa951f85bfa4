"""Study and MLflow in a real PostgreSQL: what is wrong is said at once, and a search survives its driver and server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial
from processes import alive, descendants
from ray_nodes import free_ports
from tiny_search import narl, ray_folders, start, write_space

from narl.core.errors import NarlError
from narl.search.database import StudyDatabase
from narl.search.ledger import read_ledger
from narl.storage import databases
from narl.storage.databases import check_study

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'narl[postgres]'")
pytestmark = pytest.mark.timeout(1200)

PASSWORD = "s3cret-of-the-study"


class Server:
    """A cluster of its own, closed to who lacks the password."""

    def __init__(self, folder: Path, bin: Path):
        self._folder, self._bin = folder, bin
        # PostgreSQL refuses to run as root.
        self._as = ("runuser", "-u", "postgres", "--") if os.getuid() == 0 else ()
        (self.port,) = free_ports(1)
        (folder / "password").write_text(PASSWORD)
        if self._as:
            shutil.chown(folder, "postgres")
            (folder / "password").chmod(0o644)
        self._run("initdb", "-D", f"{folder}/data", "-U", "narl", "-A", "scram-sha-256", f"--pwfile={folder}/password")
        self.start()
        self.psql("CREATE DATABASE study")
        self.psql("CREATE DATABASE mlflow")

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://narl:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "stop")

    def psql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def rows(self, database: str) -> bytes:
        """Everything in the database's tables."""
        import psycopg

        with psycopg.connect(self.url(database)) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            assert tables
            return repr([connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables]).encode()

    def _run(self, program: str, *argv: str) -> None:
        done = subprocess.run(
            [*self._as, str(self._bin / program), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            timeout=120,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server():
    found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if found is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="narl-pg-", dir="/tmp"))
    server = Server(folder, Path(found).parent)
    yield server
    with suppress(AssertionError):
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("wrong password", "user or password is wrong"),
        ("no database", "there is no such database or user"),
        ("no server", "no server answers there"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_before_anything_is_written(server, tmp_path, address, reason):
    url = {
        "wrong password": server.url("study", "s3cret-guess"),
        "no database": server.url("nowhere"),
        "no server": f"postgresql://narl:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/study",
    }[address]
    done = narl(tmp_path, "search", str(write_space(tmp_path)), "--study", url)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert reason in line and "s3cret" not in done.stdout + line
    assert not (tmp_path / "narl-runs").exists() and not (tmp_path / "cache").exists()


def test_a_study_on_a_server_that_is_locked_or_damaged_says_which(server, monkeypatch):
    import psycopg

    monkeypatch.setattr(databases, "_LOCK_TIMEOUT", "200ms")
    server.psql("CREATE DATABASE broken")
    url = server.url("broken")
    opened = StudyDatabase(name="s", url=url, directions=["maximize"])
    opened.add(create_trial(state=TrialState.RUNNING))
    anew = "give another database as `study`, and `resume` rebuilds the study from the ledger"
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE trials IN ACCESS EXCLUSIVE MODE")
        for use in (lambda: check_study(url), lambda: opened.end(0, TrialState.FAIL)):
            with pytest.raises(NarlError, match=f"another process has locked it: end that one, or {anew}") as caught:
                use()
            assert "\n" not in str(caught.value) and PASSWORD not in str(caught.value)
        other.rollback()
        check_study(url)
        other.execute("ALTER TABLE trials RENAME COLUMN state TO status")
        other.commit()
        with pytest.raises(NarlError, match=f"it is damaged: {anew}"):
            opened.trials()


@pytest.mark.slow
def test_a_search_outlives_its_driver_and_its_server(server, tmp_path):
    space, ledger = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny" / "ledger.jsonl"
    where = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
    argv = ("search", str(space), "--resume", "--study", server.url("study"))

    driver = start(tmp_path, *argv, **where)
    _until(lambda: len(read_ledger(ledger)) >= 2, driver)
    below = descendants(driver.pid)
    driver.kill()
    driver.communicate()
    for pid in alive(below):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)

    driver = start(tmp_path, *argv, **where)
    count = len(read_ledger(ledger))
    _until(lambda: len(read_ledger(ledger)) >= count + 2, driver)
    server.stop()
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 2 and "Traceback" not in out + err and PASSWORD not in out + err
    assert "finished trials are in the ledger, and --resume continues" in err.splitlines()[-1]
    server.start()

    trials = len(read_ledger(ledger)) + 2
    done = narl(tmp_path, *argv, "--trials", str(trials), **where)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert sorted(r.trial_id for r in read_ledger(ledger)) == list(range(trials))


def _until(condition, driver, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_search_that_works_tells_its_password_nowhere(server, tmp_path):
    """But where its user put it: in the driver's command line, and in the environment that its processes inherit."""
    where = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
    driver = start(tmp_path, "search", str(write_space(tmp_path, trials=3)), "--study", server.url("study"), **where)
    ledger = tmp_path / "narl-runs" / "tiny" / "ledger.jsonl"
    _until(lambda: ledger.exists() and len(read_ledger(ledger)) >= 1, driver)
    (runtime,) = ray_folders(driver.pid)
    told = _contents(runtime)  # Ray's logs, which go with the runtime
    told |= {f"command line of {pid}": _command(pid) for pid in descendants(driver.pid)}
    out, err = driver.communicate(timeout=400)
    assert (driver.returncode, err) == (0, ""), out

    best = narl(tmp_path, "best-config", "--with-worthless")
    front = narl(tmp_path, "pareto", "--with-worthless", "--figure", "front.html")
    evaluated = narl(tmp_path, "evaluate", "tiny/0", "--attacks", "leakage", "--seeds", "1", **where)
    synced = narl(tmp_path, "sync", **where)
    for done in (best, evaluated, synced, front):
        assert done.returncode == 0, done.stderr
        out += done.stdout + done.stderr
    assert "MLflow" in evaluated.stdout and "not recorded" not in evaluated.stderr
    assert PASSWORD not in out
    told |= _contents(tmp_path) | {f"database {name}": server.rows(name) for name in ("study", "mlflow")}
    assert len(told) > 30
    assert [place for place, content in told.items() if PASSWORD.encode() in content] == []


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, with its name."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with suppress(OSError):  # gone by now
                found[str(path)] = str(path).encode() + path.read_bytes()
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # gone by now
        return b""
