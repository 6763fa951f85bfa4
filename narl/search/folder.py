"""Where a search lives on disk: `<runs>/<name>/` with its search space, ledger and study."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from narl.config.load import build, read_yaml
from narl.config.search_space import SearchSpace
from narl.config.trial import FoundBy, TrainConfig
from narl.core.addresses import shown
from narl.core.cache import cache_root
from narl.core.errors import ConfigError, unknown_name
from narl.core.files import write_whole
from narl.core.paths import resolved, user_path
from narl.core.records import TrialRecord
from narl.search.ledger import read_ledger
from narl.storage.databases import sqlite_url
from narl.storage.places import FolderStorage, Storage, open_storage
from narl.storage.s3 import is_url

# All that is needed to ask about a search: the rest can be made again.
LEDGER, SPACE = "ledger.jsonl", "search_space.yaml"
# What a driver that continues elsewhere compares its images with.
IMAGES = "images.json"
# In a storage only: running trials, for the driver that continues when their host is gone.
RUNNING = "running.json"


def default_runs_folder() -> Path:
    """`$NARL_RUNS`, else `narl-runs` in the working folder: where a search is driven.

    Raises:
        ConfigError: it names a bucket, from which searches can be read only.
    """
    runs = _default_runs()
    if is_url(runs):
        raise ConfigError(f"a search runs in a folder, and NARL_RUNS is {shown(runs)!r}: give that as `storage`")
    return user_path(runs)


def _default_runs() -> str:
    return os.environ.get("NARL_RUNS") or "narl-runs"


@dataclass(frozen=True)
class SearchFolder:
    """The files of one search."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def ledger_path(self) -> Path:
        return self.path / LEDGER

    @property
    def study_url(self) -> str:
        return sqlite_url(self.path / "study.db")

    @property
    def log_path(self) -> Path:
        """What Ray says of lost trials and nodes, at full length."""
        return self.path / "search.log"

    @property
    def space_path(self) -> Path:
        return self.path / SPACE

    @property
    def images_path(self) -> Path:
        """Which images the search is about; see `narl.search.same_images`."""
        return self.path / IMAGES

    def trained_path(self, content_hash: str) -> Path:
        """Where the trained halves of one configuration are kept."""
        return self.path / "trained" / content_hash

    def load_space(self) -> SearchSpace:
        """Load the space as it was when the search began.

        Raises:
            ConfigError: the file is gone or damaged.
        """
        # Before there was a choice, clients were measured as they were trained.
        content = {"sigma_inference": "trained", **read_yaml(self.space_path)}
        return build(SearchSpace, content, str(self.space_path))

    def train_config(self, record: TrialRecord) -> TrainConfig:
        """Return how a finished trial was trained and attacked, and what the search measured for it.

        A σ that was chosen on validation images is given as a number, so that other seeds need no choice.

        Raises:
            ConfigError: the search space is gone or damaged.
            ValueError: the trial failed.
        """
        m = record.metrics
        if m is None:
            raise ValueError(f"trial {record.trial_id} failed: it measured nothing")
        found_by = FoundBy(
            search=self.name,
            trial_id=record.trial_id,
            delta=m.delta,
            utility=m.utility,
            leakage=m.leakage,
            leakage_bound=m.leakage_bound,
            client_gflops=m.cost.client_gflops,
            client_memory_mib=m.cost.client_memory_mib,
        )
        return self.load_space().train_config(record.measured_point, found_by=found_by)

    def config_of(self, trial_id: int) -> TrainConfig:
        """Return how a trial of this number was trained and attacked.

        Raises:
            ConfigError: there is no such trial, or it failed or was stopped; or the search space is gone or damaged.
        """
        records = {record.trial_id: record for record in read_ledger(self.ledger_path)}
        if trial_id not in records:
            raise ConfigError(f"search {self.name!r} has no finished trial {trial_id}: it has {len(records)}")
        if records[trial_id].metrics is None:
            raise ConfigError(f"trial {trial_id} of search {self.name!r} {records[trial_id].why_no_result}")
        return self.train_config(records[trial_id])

    def save_space(self, space: SearchSpace) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(space.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)
        write_whole(self.space_path, text)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the one driver a search may have; the system releases it if the driver dies.

        A search that failed before it began leaves no folder behind.

        Raises:
            ConfigError: another driver holds it, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make {self.path}: {error.strerror or error}") from error
        with open(self.path / "driver.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(f"search {self.name!r} is being driven by another process") from error
            try:
                yield
            finally:
                if not self.space_path.exists():
                    self._remove_unused()

    def _remove_unused(self) -> None:
        """What was written before the search space, which marks the folder as a search's."""
        for file in self.path.glob("*"):
            if file.name == "driver.lock" or file.name.startswith("study.db"):
                file.unlink()
        with suppress(OSError):  # something else is in it
            self.path.rmdir()
            self.path.parent.rmdir()


def find_search(runs: Path | str | None, name: str | None) -> SearchFolder:
    """Find the search of that name, or the one most recently written to if no name is given.

    Args:
        runs: folder of searches, or `s3://bucket/prefix` where `narl search --storage` put them: then what is there now
            is copied to the cache first; `$NARL_RUNS` or `narl-runs` by default.

    Raises:
        ConfigError: there is none; the message lists those that exist.
        NarlError: the place cannot be read.
    """
    runs = runs if runs is not None else _default_runs()
    if isinstance(runs, str) and is_url(runs):
        return _copied(runs, name)
    root = user_path(runs)
    found = {p.parent.name: SearchFolder(p.parent) for p in sorted(root.glob(f"*/{SPACE}"))}
    return found[_choice(str(root), {n: _last_write(folder) for n, folder in found.items()}, name)]


def named_search(search: Path | str | None, runs: Path | str | None) -> SearchFolder:
    """Find a search by its folder or its name; None: the one most recently written to.

    Raises:
        ConfigError, NarlError: as `find_search`.
    """
    if search is not None and (path := resolved(user_path(search)) / SPACE).exists():
        return SearchFolder(path.parent)
    return find_search(runs, None if search is None else str(search))


def _choice(where: str, written: dict[str, float], name: str | None) -> str:
    """Choose the search that is asked for among those that were `written` to at these times."""
    if not written:
        raise ConfigError(
            f"no search in {where}: start one with narl search SPACE.yaml, or name its folder with `runs`"
        )
    if name is not None and name not in written:
        raise ConfigError(f"{unknown_name('search', name, written)} (in {where})")
    return name or max(written, key=written.__getitem__)


def _copied(location: str, name: str | None) -> SearchFolder:
    storage = open_storage(location)
    found = [n.removesuffix("/") for n in storage.names() if n.endswith("/")] if name is None else [name]
    written = {n: storage.modified(f"{n}/{SPACE}") for n in found}
    if name is not None and written[name] is None:  # only now look at all, to say which there are
        written = {n[:-1]: storage.modified(f"{n}{SPACE}") for n in storage.names() if n.endswith("/")}
    last_written = {n: storage.modified(f"{n}/{LEDGER}") or at for n, at in written.items() if at is not None}
    name = _choice(shown(location), last_written, name)
    folder = cache_root() / "searches" / hashlib.sha256(location.encode()).hexdigest()[:16]
    copy(storage, FolderStorage(folder), [f"{name}/{file}" for file in (LEDGER, SPACE, IMAGES)])
    return SearchFolder(folder / name)


def copy(source: Storage, target: Storage, names: Iterable[str]) -> None:
    """Copy the files of these names from `source` to `target`."""
    for name in names:
        content = source.get(name)
        target.remove(name) if content is None else target.put(name, content)


def _last_write(folder: SearchFolder) -> float:
    newest = folder.ledger_path if folder.ledger_path.exists() else folder.space_path
    return newest.stat().st_mtime
