"""MLflow as a mirror of the ledger: a parent run per search, a child run per trial, the front on the parent.

The ledger is the truth. A sync compares it with what MLflow holds and sends what is missing, so it may be late, fail
half-way or be repeated. A child counts as sent once its status is final, which is the last thing written; one that a
crash left running is deleted and sent again. A search that was started afresh gets a parent of its own.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from narl.config.search_space import SearchSpace
from narl.core.addresses import shown
from narl.core.errors import NarlError
from narl.core.records import TrialRecord
from narl.figures.concurrency import concurrency_png
from narl.figures.front_picture import front_png
from narl.figures.front_table import front_table
from narl.figures.page.page import write_search_page
from narl.storage.databases import sqlite_path
from narl.tracking.connection import connected, default_uri, one_line
from narl.tracking.description import DESCRIPTION_TAG, description
from narl.tracking.pages import FRONT_TAG, VIEW_TAG, figures_page, run_page, trials_view
from narl.tracking.parent_run import COUNTS, Progress, finish_order
from narl.tracking.search_runs import experiment_of, find_runs, record_hash, trial_id

if TYPE_CHECKING:
    from mlflow.entities import Run

BATCH = {"metrics": 900, "params": 100}  # one log_batch may carry 1,000 things, of which 100 parameters
TEXT = 2000  # characters of an error message
RUN_STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflowMirror:
    """Sends a search's records to MLflow. Connects at the first sync; nothing is sent or opened before.

    One writer at a time: the driver of the search, or `narl sync` after it.

    Args:
        name: name of the search; its runs are in the experiment `narl/<name>`, or `$MLFLOW_EXPERIMENT_NAME`.
        objectives: whose front is shown.
        search_params: parameters of the parent run; nested mappings become dotted names.
        question: what the search is about, in Markdown (see `narl.tracking.description.question`).
        tracking_uri: by default `$MLFLOW_TRACKING_URI`, else `mlflow.db` (SQLite) in the current folder, with artifacts
            in `mlruns` beside it, where `mlflow server` started in that folder finds both.
        redraw_seconds: least time between two drawings of a changed front; drawing takes most of a second.
    """

    def __init__(
        self,
        name: str,
        objectives: Sequence[str],
        search_params: Mapping[str, Any],
        *,
        question: str = "",
        tracking_uri: str | None = None,
        redraw_seconds: float = 15.0,
    ):
        self.name = name
        self.objectives = tuple(objectives)
        self.uri = tracking_uri or default_uri()
        self._question = question
        self._search_params = dict(flat(search_params))
        self._parent: Run | None = None
        self._sent: dict[int, str] = {}  # run of each trial
        self._marked: set[int] = set()  # trials whose runs say that they are on the front
        self._reported = 0  # the last step of the parent's metrics
        self._progress = Progress(self.objectives)
        self._drawn: frozenset[int] = frozenset()  # trials on the front that the parent shows
        self._drawn_at = -math.inf
        self._redraw_seconds = redraw_seconds

    def sync(self, records: Sequence[TrialRecord]) -> int:
        """Send every record that MLflow does not have, then the front if it changed; returns the number of trials sent.

        Args:
            records: everything in the ledger.

        Raises:
            NarlError: MLflow cannot be used; call again later. The message holds no credentials.
        """
        return self._guarded(self._sync, records)

    def finish(self, records: Sequence[TrialRecord]) -> int:
        """Do as `sync`, draw the front a last time and how many trials ran when, and end the parent run."""
        return self._guarded(self._finish, records)

    def _guarded(self, action: Callable[[Sequence[TrialRecord]], int], records: Sequence[TrialRecord]) -> int:
        try:
            return action(records)
        except Exception as error:
            self._parent = None  # what arrived is uncertain: ask again next time
            raise NarlError(f"MLflow at {shown(self.uri)}: {one_line(error, self.uri)}") from error

    def _sync(self, records: Sequence[TrialRecord]) -> int:
        count = self._send_missing(records)
        front = frozenset(self._progress.front)
        if front != self._drawn and time.monotonic() - self._drawn_at >= self._redraw_seconds:
            self._show_front(records)
            self._drawn, self._drawn_at = front, time.monotonic()
        return count

    @property
    def _parent_id(self) -> str:
        assert self._parent is not None
        return self._parent.info.run_id

    def _finish(self, records: Sequence[TrialRecord]) -> int:
        count = self._send_missing(records)
        if any(r.metrics is not None for r in records):
            self._show_front(records)
            self._draw_concurrency(records)
        self._client.set_terminated(self._parent_id, "FINISHED")
        return count

    def _send_missing(self, records: Sequence[TrialRecord]) -> int:
        if self._parent is None:
            self._connect(records)
        missing = [record for record in records if record.trial_id not in self._sent]
        for record in sorted(missing, key=finish_order):
            self._sent[record.trial_id] = self._send(record)
        self._report(records)
        return len(missing)

    def _connect(self, records: Sequence[TrialRecord]) -> None:
        """Find or create the experiment and the parent, and learn which trials it has."""
        self._client, _ = connected(self.uri)
        title = experiment_of(self.name)
        experiment = self._client.get_experiment_by_name(title)
        if experiment is None:
            self._experiment_id = self._client.create_experiment(title, _artifacts(self.uri, title))
        elif experiment.lifecycle_stage == "active":
            self._experiment_id = experiment.experiment_id
        else:
            raise NarlError(f"experiment {title!r} is deleted; restore it or set MLFLOW_EXPERIMENT_NAME to another")

        if experiment is None or VIEW_TAG not in experiment.tags:
            view = trials_view(self.objectives, time.time())
            self._client.set_experiment_tag(self._experiment_id, VIEW_TAG, view)

        found = find_runs(self._client, self._experiment_id, self.name, records)
        parent, children = found or (self._new_parent(records), [])
        finished = [run for run in children if run.info.status in RUN_STATUS.values()]
        for run in children:
            if run not in finished:
                self._client.delete_run(run.info.run_id)
        self._sent = {trial_id(run): run.info.run_id for run in finished}
        self._marked = {trial_id(run) for run in finished if run.data.tags.get(FRONT_TAG) == "true"}
        self._reported = int(sum(parent.data.metrics.get(key, 0) for key in COUNTS.values()))
        self._progress = Progress(self.objectives)
        self._drawn = frozenset()
        self._resume_parent(parent)
        self._parent = parent

    def _new_parent(self, records: Sequence[TrialRecord]) -> Run:
        started = min((r.started_at for r in records), default=time.time())
        tags = {"narl.search": self.name, "narl.objectives": ",".join(self.objectives), "mlflow.source.name": "narl"}
        return self._client.create_run(
            self._experiment_id, start_time=_milliseconds(started), tags=tags, run_name=self.name
        )

    def _resume_parent(self, parent: Run) -> None:
        from mlflow.entities import Param

        run_id = parent.info.run_id
        if parent.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        # MLflow refuses to change a parameter, so those that a resume changes (how many trials) keep their first value.
        lacking = [Param(k, v) for k, v in self._search_params.items() if k not in parent.data.params]
        for batch in _batches(lacking, BATCH["params"]):
            self._client.log_batch(run_id, params=batch)

    def _send(self, record: TrialRecord) -> str:
        """Send one child run, its final status last; returns its id."""
        from mlflow.entities import Metric, Param

        config = record.config
        finished = _milliseconds(record.finished_at)
        tags = {
            **record.tags,
            "mlflow.parentRunId": self._parent_id,
            "mlflow.source.name": "narl",
            "narl.trial_id": str(record.trial_id),
            "narl.content_hash": config.content_hash,
            "narl.record_hash": record_hash(record),
            "narl.status": record.status,
        }
        if record.metrics is not None and (reason := record.metrics.why_worthless):
            tags["narl.worthless"] = reason
        if record.error is not None:
            tags["narl.error"] = record.error[:TEXT]
        if record.stopped is not None:
            tags["narl.stopped"] = str(record.stopped)
        run_id = self._client.create_run(
            self._experiment_id,
            start_time=_milliseconds(record.started_at),
            tags=tags,
            run_name=f"{record.trial_id} {config.client}",
        ).info.run_id
        scalars = {**(record.metrics.scalars() if record.metrics else {}), **record.telemetry}
        metrics = [Metric(key, value, finished, 0) for key, value in scalars.items()]
        for name, curve in record.curves.items():
            metrics += [Metric(f"curve/{name}", value, finished, step) for step, value in enumerate(curve)]
        first, *rest = list(_batches(metrics, BATCH["metrics"])) or [[]]
        self._client.log_batch(run_id, metrics=first, params=[Param(k, v) for k, v in flat(config.to_json())])
        for batch in rest:
            self._client.log_batch(run_id, metrics=batch)
        self._client.set_terminated(run_id, RUN_STATUS[record.status], finished)
        return run_id

    def _report(self, records: Sequence[TrialRecord]) -> None:
        """Send the parent's metrics, a step per finished trial, for the steps not reported before."""
        from mlflow.entities import Metric

        metrics: list[Metric] = []
        for record in self._progress.news(records):
            values, step = self._progress.count(record), self._progress.steps
            if step > self._reported:
                at = _milliseconds(record.finished_at)
                metrics += [Metric(key, value, at, step) for key, value in values.items()]
        for batch in _batches(metrics, BATCH["metrics"]):
            self._client.log_batch(self._parent_id, metrics=batch)
        self._reported = max(self._reported, self._progress.steps)

    def _show_front(self, records: Sequence[TrialRecord]) -> None:
        self._mark()
        self._describe(records)
        self._draw(records)

    def _describe(self, records: Sequence[TrialRecord]) -> None:
        """Say on the parent what the search is about and what it has found."""
        text = description(
            self.name,
            self._question,
            records,
            self.objectives,
            page_of=lambda record: run_page("", self._experiment_id, self._sent[record.trial_id]),
            figures=figures_page("", self._experiment_id, self._parent_id),
        )
        self._client.set_tag(self._parent_id, DESCRIPTION_TAG, text)

    def _mark(self) -> None:
        """Say on the runs of the front's trials that they are on it, and on those that have left that they are not."""
        front = set(self._progress.front)
        for trial in front ^ self._marked:
            self._client.set_tag(self._sent[trial], FRONT_TAG, "true" if trial in front else "false")
        self._marked = front

    def _draw(self, records: Sequence[TrialRecord]) -> None:
        """Put front.json, front.html and front.png on the parent, over the ones it has."""
        run_id = self._parent_id
        rows = front_table(records, self.objectives)
        table = {"columns": list(rows[0]) if rows else [], "data": [list(row.values()) for row in rows]}
        with tempfile.TemporaryDirectory(prefix="narl-front-") as folder:
            files = {name: Path(folder) / name for name in ("front.json", "front.html", "front.png")}
            files["front.json"].write_text(json.dumps(table), encoding="utf-8")
            runs = {trial: run_page("", self._experiment_id, run) for trial, run in self._sent.items()}
            write_search_page(files["front.html"], records, self.objectives, self.name, runs=runs)
            front_png(records, self.objectives, self.name, files["front.png"])
            for file in files.values():
                self._client.log_artifact(run_id, str(file))
        # The tag is what makes MLflow's page show the file as a table.
        self._client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": "front.json", "type": "table"}]))

    def _draw_concurrency(self, records: Sequence[TrialRecord]) -> None:
        with tempfile.TemporaryDirectory(prefix="narl-concurrency-") as folder:
            file = Path(folder) / "concurrency.png"
            concurrency_png(records, self.name, file)
            self._client.log_artifact(self._parent_id, str(file))


def search_params(space: SearchSpace) -> dict[str, str]:
    """List what the parent run of a search shows as parameters."""
    return {
        "pipeline": space.pipeline.name,
        "method": ", ".join(space.method),
        "architectures": ", ".join(
            dict.fromkeys(a for m in space.method for a in space.of_method(m).architectures or ())
        ),
        "objectives": ", ".join(space.objectives),
        "budgets": ", ".join(f"{name} <= {bound:g}" for name, bound in space.budgets.items()) or "none",
        "sampler": space.sampler,
        "seed": str(space.seed),
        "epochs": str(space.training.epochs),
        "adversaries": ", ".join(space.attack.adversaries),
        "space_hash": space.content_hash,
    }


def _artifacts(uri: str, title: str) -> str | None:
    """Tell where an experiment's files go; None for MLflow's choice, which fails if a folder's name needs quotes."""
    path = sqlite_path(uri)
    if path is None or quote(str(path)) == str(path):
        return None
    return (path.absolute().parent / "mlruns" / title).as_uri()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Flatten nested mappings to dotted names, everything else as text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:TEXT]
