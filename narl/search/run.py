"""A search as a whole: folder, lock, ledger, study, Ray, MLflow and observers, wired together."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from narl.checkpoints.store import remove_others
from narl.config.search_space import FREE_KEYS, SearchSpace
from narl.core.cache import cache_root
from narl.core.errors import ConfigError, NarlError
from narl.core.paths import user_path
from narl.core.plural import counted
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.data.dataset import open_dataset
from narl.data.identity import identity
from narl.sampler.outlook import Outlook
from narl.search.archive import Archive
from narl.search.convergence import Convergence
from narl.search.early_stopping import EarlyStopping
from narl.search.folder import SearchFolder, default_runs_folder
from narl.search.ledger import Ledger, num_counted, read_ledger, superseded
from narl.search.log import search_log
from narl.search.runner import ray_runtime, run_session, trial_resources
from narl.search.same_images import check_images, remember_images
from narl.search.session import SearchObserver, SearchSession
from narl.search.space import affordable
from narl.search.status import StatusFile
from narl.search.study import SearchStudy
from narl.search.warm_start import first_points
from narl.storage.databases import check_study
from narl.storage.places import below
from narl.tracking.background import BackgroundMirror
from narl.tracking.connection import default_uri
from narl.tracking.description import question
from narl.tracking.mirror import MLflowMirror, search_params


@dataclass(frozen=True)
class SearchResult:
    """What a search left behind.

    Attributes:
        records: every trial of the ledger, earlier sessions' included.
        new_records: how many of them this session added.
        seconds: wall time of this session's search, Ray's start included.
        mirror_error: why MLflow does not have all runs, if so.
        exhausted: every point of the space has been tried.
        converged: it ended as no more was expected than luck.
        outlook: what one more trial is expected to add, if the sampler has a model.
        storage_error: why the storage does not have all trials, if so.
        set_aside: trials that were lost with their workers too often, and why; they are in no ledger.
    """

    folder: SearchFolder
    records: list[TrialRecord]
    new_records: int
    seconds: float
    mirror_error: str | None
    exhausted: bool = False
    converged: bool = False
    outlook: Outlook | None = None
    storage_error: str | None = None
    set_aside: dict[int, str] = field(default_factory=dict)


def run_search(
    space: SearchSpace,
    *,
    runs: Path | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    study_url: str | None = None,
    ray_address: str | None = None,
    storage: str | None = None,
    found: Sequence[TrialRecord] = (),
    observers: Sequence[SearchObserver] = (),
) -> SearchResult:
    """Search `space` until its trials are done or its time budget is spent.

    Args:
        runs: folder of searches; `narl-runs` or $NARL_RUNS by default.
        resume: continue the search of that name if there is one.
        retry_failed: run every failed configuration once more.
        study_url: Optuna storage; a SQLite file in the search's folder by default.
        ray_address: a Ray cluster (`auto` on one of its nodes); a runtime of our own by default.
        storage: a shared folder or `s3://bucket/prefix` that outlives this host: ledger, space and checkpoints go to
            `storage/NAME`, and a resumed search begins with what is there.
        found: by another search; a new one begins with its front, see `narl.search.warm_start`.

    Raises:
        ConfigError: an illegal space, a search of that name that may not be resumed, another driver at work.
        DataError: the images cannot be loaded.
    """
    started = time.monotonic()
    affordable_space = affordable(space)
    first = first_points(affordable_space, found)
    folder = SearchFolder((user_path(runs) if runs else default_runs_folder()) / space.name)
    _check_resume(folder, space, resume)
    if study_url is not None or (folder.path / "study.db").exists():
        check_study(study_url or folder.study_url)
    if study_url == default_uri():
        raise ConfigError("the study and MLflow each need a database of their own: `study` names MLflow's")
    archive = None if storage is None else Archive(storage, folder)
    if archive is not None and resume:
        with folder.lock():
            archive.fetch()
        _check_resume(folder, space, resume)
    elif archive is not None:
        archive.refuse_existing()
    # Before anything is written: labels and files are checked here, not in a worker.
    dataset = open_dataset(space.pipeline, splits=("train", "validation"))
    check_images(folder, space, dataset)
    if ray_address is None or "NARL_CACHE" in os.environ:
        os.environ["NARL_CACHE"] = str(cache_root())  # workers have another working folder
    earlier = read_ledger(folder.ledger_path)
    to_retry = {r.trial_id for r in earlier if r.status == "failed"} - superseded(earlier) if retry_failed else set()
    pending = num_counted(earlier) - len(to_retry) < space.trials
    # Ray first: an address that does not answer, or a trial that fits no node, leaves nothing written.
    with ray_runtime(ray_address) if pending else nullcontext(), folder.lock():
        _check_resume(folder, space, resume)  # another driver may have come and gone since
        on_cluster = ray_address is not None
        resources = trial_resources(space.resources, on_cluster=on_cluster) if pending else None
        ledger = Ledger(folder.ledger_path)
        before = len(ledger)
        study = SearchStudy(
            name=f"{space.name}-{space.content_hash}",
            url=study_url or folder.study_url,
            space=affordable_space,
            ledger=ledger,
            inherited=archive.inherited if archive is not None else None,
            first=first,
        )
        if retry_failed:
            study.retry_failed()
        remember_images(folder, space, dataset)
        folder.save_space(space)
        mirror = BackgroundMirror(
            MLflowMirror(space.name, space.objectives, search_params(space), question=question(space)),
            lambda: ledger.records,
        )
        copies = [mirror]
        if archive is not None:
            archive.unfinished = lambda: study.unfinished
            copies.append(BackgroundMirror(archive, lambda: ledger.records, name="the storage"))
        status = StatusFile(folder.path)
        session = SearchSession(
            study,
            ledger,
            trials=space.trials,
            deadline=None if space.minutes_for_trials is None else started + 60 * space.minutes_for_trials,
            observers=(*observers, status, *(NotifyMirror(copy, of_starts=copy is not mirror) for copy in copies)),
            convergence=Convergence() if space.stop == "converged" else None,
            stopping=EarlyStopping(space.objectives, affordable_space.cost) if space.early_stopping else None,
        )
        checkpoints: str | None = str((folder.path / "checkpoints").absolute())
        if storage is not None:
            checkpoints = below(storage, folder.name, "checkpoints")
        elif on_cluster:
            checkpoints = None  # no folder that its nodes share is known
        for line in dataset.told:
            session.notice(line)
        if found and not before:
            said = "no client that this space has" if not first else counted(len(first), "configuration")
            session.notice(f"begins with what the other search found: {said}")
        try:
            if resources is not None:
                if not resources.gpus and space.resources.gpus_per_trial is None:
                    session.notice("no GPU is or will be there: training on CPU")
                known = identity(dataset) if on_cluster else None
                with search_log(folder.log_path), status.kept():
                    run_session(session, space, resources, identity=known, checkpoints=checkpoints)
            for copy in copies:
                copy.notify()
        finally:
            for copy in copies:
                copy.close(timeout=60)
            done = session.ended and not any(copy.last_error for copy in copies[1:])
            if done and checkpoints is not None:
                with suppress(NarlError):  # they do no harm
                    remove_others(checkpoints, {config.content_hash for config in study.unfinished.values()})
            with suppress(OSError):  # none, or some trial has not ended
                (folder.path / "checkpoints").rmdir()
    return SearchResult(
        folder=folder,
        records=ledger.records,
        new_records=len(ledger) - before,
        seconds=time.monotonic() - started,
        mirror_error=mirror.last_error,
        storage_error=copies[1].last_error if archive is not None else None,
        exhausted=num_counted(ledger.records) >= affordable_space.num_points,
        converged=session.converged,
        outlook=session.outlook,
        set_aside=session.set_aside,
    )


def _check_resume(folder: SearchFolder, space: SearchSpace, resume: bool) -> None:
    if not folder.space_path.exists():
        return
    if not resume:
        raise ConfigError(
            f"search {space.name!r} already exists in {folder.path.parent}: "
            "`resume` continues it, another `name` starts another"
        )
    earlier = folder.load_space()
    if earlier.content_hash != space.content_hash:
        before, after = earlier.model_dump(by_alias=True), space.model_dump(by_alias=True)
        changed = [key for key in after if key not in FREE_KEYS and after[key] != before.get(key)]
        raise ConfigError(
            f"search {space.name!r} was begun with another space (changed: {', '.join(changed)}), and its trials "
            "cannot be compared with new ones: restore the space, or start another search with another `name`"
        )


class NotifyMirror:
    """Wakes the mirror when the ledger has grown and, if it follows starts, when a trial has started."""

    def __init__(self, mirror: BackgroundMirror, *, of_starts: bool = False):
        self._mirror, self._of_starts = mirror, of_starts

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        pass

    def started(self, trial_id: int, config: Point) -> None:
        if self._of_starts:
            self._mirror.notify()

    def progressed(self, trial_id: int, phase: str, epoch: int, detail: str) -> None:
        pass

    def finished(self, record: TrialRecord) -> None:
        self._mirror.notify()

    def noticed(self, text: str, *, ended: int | None = None) -> None:
        pass
