"""What a running search shows: a live table where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from narl.cli.clock import clock
from narl.cli.fitted_table import fitted, print_fitted
from narl.cli.front_plot import HEIGHT, front_plot
from narl.cli.heartbeat import SILENCE, heartbeat
from narl.cli.terminal import new_console, say
from narl.config.search_space import SearchSpace
from narl.core.pareto import front_of
from narl.core.plural import counted
from narl.core.point import Point
from narl.core.printable import printable
from narl.core.records import TrialRecord, nothing_of
from narl.figures.front_view import front_view
from narl.search.ledger import num_counted, superseded
from narl.search.status import Status

CELLS_SHOWN = 20
LINES_OF_RUNNING = 3


@contextmanager
def search_view(space: SearchSpace, *, console: Console | None = None) -> Iterator[SearchView]:
    """The view that fits where output goes."""
    console = console or new_console()
    view = SearchView(space, console)
    if not console.is_terminal:
        with heartbeat(view.beat, SILENCE / 4):
            yield view
        return
    with Live(view, console=console, refresh_per_second=4, redirect_stderr=False, transient=True):
        yield view


class SearchView:
    """Follows a search as one of its observers, and shows its state whenever rich draws it."""

    def __init__(self, space: SearchSpace, console: Console):
        self._space, self._console = space, console
        self._records: list[TrialRecord] = []
        self._resumed = 0
        self._running: dict[int, tuple[Point, str]] = {}
        self._started = self._spoke = time.monotonic()
        self._first_trial: float | None = None
        self._notices: list[str] = []
        self._followed = False
        self._plotted_of: tuple[int, int] | None = None  # trials, and columns of the terminal
        self._plotted: Text | None = None

    # --- observer ---

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        self._records, self._resumed = list(records), len(records)

    def started(self, trial_id: int, config: Point) -> None:
        self._first_trial = self._first_trial or time.monotonic()
        self._running = {**self._running, trial_id: (config, "starting")}

    def progressed(self, trial_id: int, phase: str, epoch: int, detail: str) -> None:
        if trial_id in self._running:
            config, _ = self._running[trial_id]
            self._running = {**self._running, trial_id: (config, f"{phase}, {detail}")}

    def finished(self, record: TrialRecord) -> None:
        self._running = {i: running for i, running in self._running.items() if i != record.trial_id}
        self._records = [*self._records, record]
        if not self._console.is_terminal:
            self._print(_line(record, num_counted(self._records), self._space.trials))

    def noticed(self, text: str, *, ended: int | None = None) -> None:
        self._running = {i: running for i, running in self._running.items() if i != ended}
        self._notices = [*self._notices, text]
        if not self._console.is_terminal:
            self._print(text)

    # --- another process's search ---

    def follow(self, status: Status) -> None:
        """Show what the driver of a search says of itself, in place of what observers hear."""
        self._started = time.monotonic() - max(0.0, time.time() - status.started_at)
        self._first_trial = self._first_trial or time.monotonic()
        self._running = dict(status.running)
        self._notices = list(status.notices)
        if not self._console.is_terminal and not self._followed:
            self._followed = True
            self._print(self._state())

    # --- rendering ---

    def beat(self) -> None:
        """Print a line if nothing was printed for a while. Before the first trial a search may still be refused."""
        if self._first_trial is not None and time.monotonic() - self._spoke >= SILENCE:
            self._print(self._state())

    def _state(self) -> str:
        """What runs, in one line."""
        now = [f"trial {i} {config.client}: {state}" for i, (config, state) in sorted(self._running.items())]
        more = f"; and {len(now) - LINES_OF_RUNNING} more" if len(now) > LINES_OF_RUNNING else ""
        head = f"{num_counted(self._records)}/{self._space.trials} done, {len(now)} running, {self._times()}"
        return "; ".join([head, *now[:LINES_OF_RUNNING]]) + more

    def _print(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._console.print(text, soft_wrap=True)

    def _times(self) -> str:
        return f"{clock(time.monotonic() - self._started)}, {self._eta()}"

    def __rich__(self) -> Group:
        done, stopped, failed = _counts(self._records)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(f"narl search {self._space.name}", style="bold"),
            ProgressBar(total=self._space.trials, completed=num_counted(self._records), width=12),
            f"{num_counted(self._records)}/{self._space.trials} done",
            f"{len(self._running)} running",
            *([f"{stopped} stopped"] if self._space.early_stopping else []),
            Text(f"{failed} failed", style="red" if failed else ""),
            self._times(),
        )
        running = [
            Text(
                f"  trial {trial_id} {config.client} {config.numbers}: {state}",
                no_wrap=True,
                overflow="ellipsis",
            )
            for trial_id, (config, state) in sorted(self._running.items())
        ]
        notices = [Text(f"  {text}", style="yellow", no_wrap=True, overflow="ellipsis") for text in self._notices[-3:]]
        table, plot = self.front_table(), self._plot()
        height = len(running) + len(notices) + table.row_count + HEIGHT + 3
        return Group(head, *running, *notices, table, *(plot if height < self._console.height else ()))

    def _plot(self) -> Iterator[Text]:
        """Draw the front, where the terminal is wide enough; anew only if a trial has ended or the width is another."""
        of = len(self._records), self._console.width
        if self._plotted_of != of:
            view = front_view(self._records, self._space.objectives)
            self._plotted_of, self._plotted = of, front_plot(self._console, view)
        if self._plotted is not None:
            yield self._plotted

    def front_table(self, *, limit: int | None = CELLS_SHOWN) -> Table:
        """Best Δ of each client tried, cheapest first; a star marks the front."""
        on_front = {r.trial_id for r in front_of(self._records, self._space.objectives)}
        best: dict[str, TrialRecord] = {}
        tried: dict[str, int] = {}
        for record in self._records:
            if record.metrics is None:
                continue
            cell = record.config.client
            tried[cell] = tried.get(cell, 0) + 1
            if cell not in best or _rank(record) > _rank(best[cell]):
                best[cell] = record
        rows = sorted(best.values(), key=lambda r: (r.measured.cost.client_gflops, r.measured.cost.client_memory_mib))
        if limit is not None and len(rows) > limit:
            rows = [r for r in rows if r.trial_id in on_front][:limit]
        cells = {
            "": lambda r: "★" if r.trial_id in on_front else "",
            "client": lambda r: r.config.client,
            "tried": lambda r: str(tried[r.config.client]),
            "GFLOPs": lambda r: f"{r.measured.cost.client_gflops:.4f}",
            "MiB": lambda r: f"{r.measured.cost.client_memory_mib:.2f}",
            "best Δ": lambda r: f"{r.bound_sign('delta')}{r.measured.delta:.2f}",
            "util.": lambda r: r.shown_utility,
            "leak.": lambda r: r.leakage_bracket,
            "σ": _sigmas,
            "λ": lambda r: f"{r.config.lambda_:.2g}",
        }

        nothing = nothing_of(list(best.values()))
        of_nothing = {} if nothing is None else {
            "client": "send nothing",
            "best Δ": f"{nothing.delta:.2f}",
            "util.": f"{nothing.utility:.2f}",
            "leak.": f"{nothing.leakage:.2f}",
        }  # fmt: skip

        def build(columns: Sequence[str]) -> Table:
            table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
            for name in columns:
                table.add_column(name, justify="left" if name in ("", "client") else "right", no_wrap=True)
            for r in rows:
                table.add_row(*(cells[name](r) for name in columns), style="bold green" if cells[""](r) else "")
            if nothing is not None:
                table.add_row(*(of_nothing.get(name, "") for name in columns), style="dim")
            return table

        return fitted(self._console, build, list(cells), spare=("tried", "λ", "σ", "MiB"))

    def table(self) -> None:
        """Print the best of every client, and the front."""
        print_fitted(self._console, self.front_table(limit=None))
        for plot in self._plot():
            self._console.print(plot)

    def summary(self, result) -> None:
        """Printed once, after the search."""
        done = [r for r in result.records if r.metrics]
        _, stopped, failed = _counts(result.records)
        front = front_of(done, self._space.objectives)
        out = self._console
        self.table()
        out.print(
            f"{len(done) + stopped} trials done ({result.new_records} new, "
            f"{f'{stopped} stopped early, ' if stopped else ''}{failed} failed) over "
            f"{counted(len({r.config.arch for r in done}), 'architecture')} in {clock(result.seconds)}; "
            f"★ {len(front)} on the front of {', '.join(self._space.objectives)}. "
            f"Accuracies in %, of validation images{_floor(done)}. "
            "≥ and ≤: more may leak than was read (the tag doubts says why).",
            soft_wrap=True,
        )
        if out.is_terminal:
            for text in self._notices:
                out.print(text, soft_wrap=True)
        repeated = superseded(result.records)
        for record in result.records:
            if record.error and record.trial_id not in repeated:
                out.print(f"trial {record.trial_id} failed: {record.error}")
        for trial_id, reason in result.set_aside.items():
            out.print(printable(f"trial {trial_id} has no result: {reason}; --resume tries again"))
        if num_counted(result.records) < self._space.trials:
            reason = "; --resume goes on"
            if result.exhausted:
                reason = ", and the space has no more points"
            elif result.converged:
                reason = ": converged, as no more is expected of another than luck would seem to give"
            out.print(f"{self._space.trials} trials were asked for{reason}.", soft_wrap=True)
        elif not result.new_records:
            out.print(f"All {self._space.trials} trials were done before; --trials asks for more.")
        if result.outlook is not None and not result.exhausted:
            expected = f"One more trial is expected to enlarge the front by {result.outlook.percent:.2g} %"
            out.print(f"{expected}, {'within' if result.outlook.is_within_luck else 'more than'} luck.", soft_wrap=True)
        if result.mirror_error:
            say(f"narl: MLflow lacks some runs ({result.mirror_error}); narl sync sends them", file=sys.stderr)
        if result.storage_error:
            say(f"narl: the storage lacks some trials ({result.storage_error}); --resume sends them", file=sys.stderr)
        out.print(
            f"Ledger {result.folder.ledger_path}; next: narl pareto, narl best-config, narl ui",
            soft_wrap=True,
        )

    def _eta(self) -> str:
        finished = len(self._records) - self._resumed
        if not finished or self._first_trial is None:
            return "ETA ?"
        left = (time.monotonic() - self._first_trial) / finished * (self._space.trials - len(self._records))
        if minutes := self._space.minutes_for_trials:
            left = min(left, max(0.0, 60 * minutes - (time.monotonic() - self._started)))
        return f"ETA {clock(left)}"


def _rank(record: TrialRecord) -> tuple[bool, float]:
    return not record.why_not_counted, record.measured.delta


def _counts(records: Sequence[TrialRecord]) -> tuple[int, int, int]:
    """How many trials are complete, stopped and failed; a failed one and its repetition count as one."""
    complete, stopped = (sum(record.status == status for record in records) for status in ("complete", "stopped"))
    return complete, stopped, num_counted(records) - complete - stopped


def _floor(records: list[TrialRecord]) -> str:
    return f"; the utility label alone gives away {records[0].measured.label_floor:.2f}" if records else ""


def _sigmas(record: TrialRecord) -> str:
    """Of training, and of inference if that is another."""
    at_inference = record.sigma_at_inference
    return f"{record.config.sigma:.2f}" + ("" if at_inference is None else f"→{at_inference:.2f}")


def _line(record: TrialRecord, count: int, total: int) -> str:
    c = record.config
    head = f"{count}/{total} trial {record.trial_id} {c.client} {c.numbers}: "
    if record.metrics is None:
        return f"{head}{record.why_no_result}"
    m = record.metrics
    if record.sigma_at_inference is not None:
        head += f"at σ {record.sigma_at_inference:.3g} "
    return (
        f"{head}Δ {record.bound_sign('delta')}{m.delta:.2f} = {record.shown_utility} − "
        f"{record.leakage_bracket} "
        f"({m.cost.client_gflops:.4f} GFLOPs, {m.cost.client_memory_mib:.2f} MiB, "
        f"{record.seconds:.0f} s)"
        f"{_why_not(record)}"
    )


def _why_not(record: TrialRecord) -> str:
    """Why a finished trial is on no front, put after it."""
    if record.measured.why_worthless:
        return " – worth no more than sending nothing"
    return f" – {record.why_not_counted}" if record.why_not_counted else ""
