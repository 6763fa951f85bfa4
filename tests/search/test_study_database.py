"""What a database can have against a study, said in one line; the ledger rebuilds what is moved away."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from toy import affordable, measure, toy_space

from narl.core.addresses import without_credentials
from narl.core.errors import ConfigError, NarlError
from narl.search.database import StudyDatabase
from narl.search.ledger import Ledger
from narl.search.session import SearchSession
from narl.search.study import SearchStudy
from narl.storage.databases import check_study, with_driver


def open_study(url: str) -> StudyDatabase:
    return StudyDatabase(name="s", url=url, directions=["maximize"])


def running(number: int = 0):
    return create_trial(state=TrialState.RUNNING, user_attrs={"trial_id": number, "padding": "x" * 1000})


@pytest.fixture
def study(tmp_path):
    """(path, URL) of a study with trials over many pages."""
    path = tmp_path / "study.db"
    database = open_study(f"sqlite:///{path}")
    for number in range(30):
        database.add(running(number))
        database.end(number, TrialState.COMPLETE, [1.0])
    return path, f"sqlite:///{path}"


REBUILT = "move the file away, and `resume` rebuilds the study from the ledger"


def one_line(raised: type[NarlError], use) -> str:
    with pytest.raises(raised) as caught:
        use()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


def test_a_damaged_file_is_named_before_a_search_begins(study):
    path, url = study
    whole = path.read_bytes()
    path.write_bytes(b"rubbish" * 1000)
    for use in (check_study, open_study):
        message = one_line(ConfigError, lambda use=use: use(url))
        assert str(path) in message and message.endswith(f"it is damaged: {REBUILT}")
    check_study(f"sqlite:///{path.with_name('new.db')}")
    path.write_bytes(whole)
    check_study(url)


def test_damage_within_is_one_line_whenever_it_is_met(study):
    """Every page but the first in turn; damage may go unnoticed, but is never a traceback."""
    path, url = study
    whole, met = path.read_bytes(), 0
    for page in range(4096, len(whole), 4096):
        path.write_bytes(whole[:page] + b"\xff" * 4096 + whole[page + 4096 :])
        try:
            check_study(url)
            database = open_study(url)
            database.add(running(30))
            database.end(30, TrialState.COMPLETE, [1.0])
        except NarlError as error:
            met += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert met


def damage(path: Path, table: str, column: str, value: object) -> None:
    """Another value in one column of the last row, whatever its type should be."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT max(rowid) FROM {table})", (value,))


def columns(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return [(t, row[1]) for (t,) in tables for row in connection.execute(f"PRAGMA table_info({t})")]


def test_whatever_a_row_of_the_study_holds_is_used_or_refused_with_its_remedy(tmp_path):
    """Every column of every table: text where a number or JSON should be, and nothing at all."""
    space, ledger = affordable(toy_space()), Ledger(tmp_path / "ledger.jsonl")
    path = tmp_path / "study.db"

    def reopened() -> SearchStudy:
        return SearchStudy(name="toy", url=f"sqlite:///{path}", space=space, ledger=ledger)

    session = SearchSession(reopened(), ledger, trials=12)
    for number in range(3):
        trial_id, config = session.propose()
        if number < 2:  # the last still runs
            session.complete(trial_id, measure(config, space))
    whole, refused = path.read_bytes(), 0
    for table, column in columns(path):
        for value in ("x", None):
            try:
                damage(path, table, column, value)
            except sqlite3.IntegrityError:
                continue
            try:
                reopened().ask()
            except NarlError as error:
                refused += REBUILT in str(error)
                assert "\n" not in str(error) and len(str(error)) < 400, (table, column, value)
            path.write_bytes(whole)
    assert refused > 5


def test_damage_in_any_page_is_met_before_a_search_begins(study):
    """What SQLite's own check finds: a page that is none."""
    path, url = study
    whole, met = path.read_bytes(), 0
    pages = range(4096, len(whole), 4096)
    for page in pages:
        path.write_bytes(whole[:page] + b"\xff" * 4096 + whole[page + 4096 :])
        try:
            check_study(url)
        except ConfigError as error:
            met += str(error).endswith(f"it is damaged: {REBUILT}")
    assert met == len(pages)


@pytest.mark.slow  # SQLite waits for half a minute
def test_a_locked_file_says_so(study):
    path, url = study
    database = open_study(url)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    locked = f"another process has locked it: end that one, or {REBUILT}"
    message = one_line(NarlError, lambda: database.add(running(30)))
    assert locked in message and "`resume` continues" in message
    assert one_line(ConfigError, lambda: check_study(url)).endswith(locked)
    holder.close()
    database.add(running(30))
    check_study(url)


def test_a_place_that_cannot_be_opened(tmp_path):
    assert "the file cannot be opened" in one_line(
        ConfigError, lambda: check_study(f"sqlite:///{tmp_path}/no/such/folder/study.db")
    )


FILL = """
import sys
from contextlib import closing
from pathlib import Path
sys.path[:0] = [{tests!r}, {search!r}]
from test_study_database import open_study, running
from narl.core.errors import NarlError
from narl.search.samplers import silence_optuna
from optuna.trial import TrialState
silence_optuna()
disk = Path(sys.argv[1])
database = open_study(f"sqlite:///{{disk}}/study.db")
try:
    for number in range(100_000):
        database.add(running(number))
        database.end(number, TrialState.COMPLETE, [1.0])
except NarlError as error:
    print(error)
    (disk / "filler").unlink()
    kept = open_study(f"sqlite:///{{disk}}/study.db")
    print(len(kept.trials()) in (number, number + 1))
    kept.add(running(len(kept.trials())))
"""


def test_a_full_disk_is_one_line_and_what_was_written_stays(tmp_path):
    """A file system of 1 MiB, in a mount namespace that ends with the process."""
    folder = Path(__file__).parent
    code = FILL.format(tests=str(folder.parent), search=str(folder))
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && head -c 100000 /dev/zero > {tmp_path}/filler"
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (unshare -m, mount -t tmpfs)")
    run = [unshare, "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    message, kept = done.stdout.splitlines()
    assert "the disk is full; finished trials are in the ledger, and `resume` continues" in message
    assert kept == "True"


def test_a_study_that_was_moved_away_is_rebuilt_from_the_ledger(tmp_path):
    space = affordable(toy_space())
    ledger, url = Ledger(tmp_path / "ledger.jsonl"), f"sqlite:///{tmp_path / 'study.db'}"

    def session() -> SearchSession:
        return SearchSession(SearchStudy(name="toy", url=url, space=space, ledger=ledger), ledger, trials=12)

    first = session()
    for _ in range(5):
        trial_id, config = first.propose()
        first.complete(trial_id, measure(config, space))
    (tmp_path / "study.db").rename(tmp_path / "away")
    second = session()
    while proposal := second.propose():
        second.complete(proposal[0], measure(proposal[1], space))
    told = optuna.load_study(study_name="toy", storage=url).get_trials(states=[TrialState.COMPLETE])
    own = [t.user_attrs["trial_id"] for t in told if "duplicate_of" not in t.user_attrs]
    assert sorted(own) == sorted(r.trial_id for r in ledger.records) == list(range(12))


def test_mlflows_database_is_no_study(tmp_path):
    """Both keep their version in a table of one name, and the second to come cannot be used any more."""
    from narl.tracking.mirror import MLflowMirror

    url = f"sqlite:///{tmp_path / 'one.db'}"
    MLflowMirror("s", ["delta"], {}, tracking_uri=url).sync([])
    assert "a study needs a database of its own" in one_line(ConfigError, lambda: check_study(url))
    other = f"sqlite:///{tmp_path / 'other.db'}"
    open_study(other)
    message = one_line(NarlError, lambda: MLflowMirror("s", ["delta"], {}, tracking_uri=other).sync([]))
    assert "MLflow needs one of its own" in message


def test_a_missing_driver_names_what_brings_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for url, package in (("postgresql://h/d", "narl[postgres]"), ("mysql://h/d", "mysqlclient")):
        message = one_line(ConfigError, lambda url=url: check_study(url))
        assert f"pip install '{package}'" in message


@pytest.mark.parametrize(
    ("url", "begins"),
    [
        ("postgresql://h/d", "postgresql+psycopg://h/d?connect_timeout=5&"),
        ("postgresql://h/d?sslmode=require", "postgresql+psycopg://h/d?sslmode=require&connect_timeout=5&"),
        ("postgresql+psycopg2://h/d?connect_timeout=60", "postgresql+psycopg2://h/d?connect_timeout=60&keepalives"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("http://mlflow:5000", "http://mlflow:5000"),
    ],
)
def test_addresses_as_sqlalchemy_takes_them(url, begins):
    pytest.importorskip("psycopg")
    assert with_driver(url).startswith(begins) and with_driver(with_driver(url)) == with_driver(url)


@pytest.mark.parametrize(
    "url", ["postgresql://narl:s3cret@h/d", "postgresql://h/d?user=narl&password=s3cret", "postgresql://n:s3@cret@h/d"]
)
def test_no_password_is_shown(url):
    shown = without_credentials(f"cannot open {url!r}, nor {url}")
    assert "cret" not in shown and "s3" not in shown and shown.count("h/d") == 2
