"""Where a search lives on disk: `<runs>/<name>/` with its search space, ledger and study."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from narl.config.load import build, read_yaml
from narl.config.search_space import SearchSpace
from narl.errors import ConfigError, unknown_name


def default_runs_folder() -> Path:
    """`$NARL_RUNS`, else `narl-runs` in the working folder."""
    return Path(os.environ.get("NARL_RUNS", "narl-runs"))


@dataclass(frozen=True)
class SearchFolder:
    """The files of one search."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def study_url(self) -> str:
        return f"sqlite:///{(self.path / 'study.db').absolute()}"

    @property
    def log_path(self) -> Path:
        """What Ray says of lost trials and nodes, at full length."""
        return self.path / "search.log"

    @property
    def space_path(self) -> Path:
        return self.path / "search_space.yaml"

    def trained_path(self, content_hash: str) -> Path:
        """Where the trained halves of one configuration are kept."""
        return self.path / "trained" / content_hash

    def load_space(self) -> SearchSpace:
        """The space as it was when the search began.

        Raises:
            ConfigError: the file is gone or damaged.
        """
        return build(SearchSpace, read_yaml(self.space_path), str(self.space_path))

    def save_space(self, space: SearchSpace) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(space.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)
        temporary = self.space_path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.space_path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one driver a search may have; released by the system if the driver dies.

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
    """The search of that name, or the one most recently written to if no name is given.

    Raises:
        ConfigError: there is none; the message lists those that exist.
    """
    root = Path(runs) if runs is not None else default_runs_folder()
    found = {p.parent.name: SearchFolder(p.parent) for p in sorted(root.glob("*/search_space.yaml"))}
    if not found:
        raise ConfigError(f"no search in {root}: start one with narl search SPACE.yaml, or name its folder with --runs")
    if name is None:
        return max(found.values(), key=lambda folder: _last_write(folder))
    if name not in found:
        raise ConfigError(f"{unknown_name('search', name, found)} (in {root})")
    return found[name]


def _last_write(folder: SearchFolder) -> float:
    newest = folder.ledger_path if folder.ledger_path.exists() else folder.space_path
    return newest.stat().st_mtime
