"""Trains a search's contenders anew with fresh seeds, as tasks of Ray, and reads them on test images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray

from narl import __version__
from narl.config.search_space import SearchSpace
from narl.confirmation.contenders import Contender, affordable, contenders
from narl.core.cache import cache_root
from narl.core.errors import ConfigError, NarlError, NothingFeasible
from narl.core.hashing import stable_hash
from narl.core.objectives import COST_NAMES, is_one_delta, not_costs
from narl.core.plural import counted
from narl.core.records import TrialRecord
from narl.core.seeds import derive_seed
from narl.data.dataset import open_dataset
from narl.data.identity import identity
from narl.evaluation.samples import SeedSamples
from narl.evaluation.seed import Seed
from narl.search.confirmed import Confirmation, ConfirmedTrial
from narl.search.folder import SearchFolder, named_search
from narl.search.ledger import read_ledger
from narl.search.node_data import NodeData, open_on_node
from narl.search.runner import ray_runtime, trial_resources
from narl.search.same_images import check_images

SEEDS = 3
MOST = 10
# How often Ray runs a task again whose worker or node is gone.
RETRIES = 3


class Done(NamedTuple):
    """One seed of one contender.

    Attributes:
        number, total: how many are done, of how many.
        failure: why it has no numbers; empty if it has.
    """

    trial_id: int
    client: str
    seed: int
    number: int
    total: int
    failure: str


class _Job(NamedTuple):
    record: TrialRecord
    seed: int
    run: dict[str, Any]
    path: Path


def confirm(
    search: SearchFolder | Path | str | None = None,
    *,
    runs: Path | str | None = None,
    seeds: int = SEEDS,
    most: int = MOST,
    share: float | None = None,
    with_worthless: bool = False,
    ray_address: str | None = None,
    on_plan: Callable[[int], object] = lambda contenders: None,
    on_done: Callable[[Done], object] = lambda done: None,
) -> Confirmation:
    """Train the trials that may be on a search's front with fresh seeds, attack them as the search did, on test images.

    What is measured is kept in the search's folder as it comes, so that a second call goes on. The result is kept there
    too (`confirmed.json`), where `best_config` looks for it.

    Args:
        search: its folder or its name; None: the one most recently written to.
        runs: folder of searches; None: `$NARL_RUNS` or `narl-runs`.
        seeds: of each contender, at least 2, other than the search's own.
        most: contenders at most; the likeliest members of the front come first.
        share: of the time of search and confirmation together that these may take, above 0 and below 1, as long as a
            trial took in the search; None: no bound.
        with_worthless: let trials contend that are no better than sending nothing, too.
        ray_address: of a Ray cluster, as for `narl.search`; every node must be able to open the images.
        on_plan: hears how many contenders there are, before they are trained.
        on_done: sees each seed as it ends.

    Raises:
        ConfigError: no such search, one whose objectives are others than Δ or certified Δ and costs, or other images.
        NothingFeasible: no trial counts, or `share` is too little for one.
        DataError: images or what was kept cannot be read.
        NarlError: a seed was lost with its worker time and again.
    """
    if seeds < 2:
        raise ConfigError(f"`seeds` must be at least 2, as one says nothing about others; got {seeds}")
    if share is not None and not 0 < share < 1:
        raise ConfigError(f"`share` must be above 0 and below 1; got {share:g}")
    folder = search if isinstance(search, SearchFolder) else named_search(search, runs)
    space = folder.load_space()
    objective = _delta_of(space)
    records = read_ledger(folder.ledger_path)
    found = contenders(
        records,
        space.objectives,
        most=most,
        random=np.random.default_rng(derive_seed(space.seed, "contenders")),
        worthless=with_worthless,
    )
    if not found:
        raise NothingFeasible(f"search {folder.name!r} has no finished trial that counts: there is nothing to confirm")
    if share is not None:
        found = affordable(found, spent=sum(record.seconds for record in records), share=share, seeds=seeds)
        if not found:
            raise NothingFeasible(
                f"{100 * share:g} % of the time is too little to train one client with {counted(seeds, 'fresh seed')}: "
                f"narl confirm {folder.name} takes the time that it needs"
            )
    dataset = open_dataset(space.pipeline, splits=("train", "validation", "test"))
    check_images(folder, space, dataset)
    on_plan(len(found))
    numbers = tuple((space.seed + 1 + i) % 2**63 for i in range(seeds))
    jobs = [_job(folder, each.record, number) for number in numbers for each in found]
    measured: dict[int, dict[int, Seed]] = {each.record.trial_id: {} for each in found}
    failed: dict[int, str] = {}
    data = NodeData(
        space.pipeline,
        splits=dataset.splits,
        identity=identity(dataset) if ray_address is not None else None,
        cache=str(cache_root()) if ray_address is None else os.environ.get("NARL_CACHE"),
    )
    for count, (job, result) in enumerate(_measured(jobs, space, data, ray_address), start=1):
        failure = result if isinstance(result, str) else ""
        if isinstance(result, Seed):
            measured[job.record.trial_id][job.seed] = result
        else:
            failed[job.record.trial_id] = f"seed {job.seed}: {failure}"
        on_done(Done(job.record.trial_id, job.record.config.client, job.seed, count, len(jobs), failure))
    whole = [each for each in found if each.record.trial_id not in failed]
    if not whole:
        raise NothingFeasible(f"no contender could be trained with every seed: {next(iter(failed.values()))}")
    confirmation = Confirmation(
        objective=objective,
        num_images=len(dataset.labels("test")[0]),
        seeds=numbers,
        trials=tuple(_confirmed(each, measured[each.record.trial_id], objective, space) for each in whole),
        failed=failed,
    )
    confirmation.save(folder.path)
    return confirmation


def _delta_of(space: SearchSpace) -> Any:
    unknown = not_costs(space.objectives)
    if not is_one_delta(space.objectives):
        raise ConfigError(
            f"search {space.name!r} has the objectives {', '.join(unknown)}; narl confirm takes searches whose objectives "
            "are delta or delta_certified, one of them, and costs"
        )
    return unknown[0]


def _job(folder: SearchFolder, record: TrialRecord, seed: int) -> _Job:
    config = folder.train_config(record).model_copy(update={"found_by": None}).with_seed(seed)
    run = config.model_dump(mode="json", by_alias=True)
    name = f"{record.trial_id}-seed{seed}-{stable_hash([__version__, run])}.json"
    return _Job(record, seed, run, folder.path / "confirmed" / name)


def _measured(
    jobs: Sequence[_Job], space: SearchSpace, data: NodeData, ray_address: str | None
) -> Iterator[tuple[_Job, Seed | str]]:
    """Measure what was not measured before; gives each job as it ends, with its seed or why it has none."""
    missing = []
    for job in jobs:
        if job.path.exists():
            yield job, Seed.load(job.path)
        else:
            missing.append(job)
    if not missing:
        return
    with ray_runtime(ray_address):
        resources = trial_resources(space.resources, on_cluster=ray_address is not None)
        # One worker even where the search had several: what they train together is what one trains.
        cpus, gpus = resources.cpus / resources.workers, resources.gpus / resources.workers
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(measure)
        waiting = {task.remote(job.run, data.arguments, cpus): job for job in missing}
        while waiting:
            (ready,), _ = ray.wait(list(waiting))
            job = waiting.pop(ready)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                reason = str(cause or error).strip().splitlines()[-1]
                raise NarlError(
                    f"seed {job.seed} of trial {job.record.trial_id} was lost: {reason}; what was measured is kept, and "
                    "the same command goes on"
                ) from error
            if isinstance(result, Seed):
                result.save(job.path)
            yield job, result


def measure(run: Mapping[str, Any], data: Mapping[str, Any], cpus: float) -> Seed | str:
    """Train and attack one configuration in this process: on test images, as a search does on validation images.

    Args:
        run: a `TrainConfig`, as JSON.
        data: of `narl.search.node_data.open_on_node`.
        cpus: that the task has.

    Raises:
        DataError: this node has no such images.
    """
    import torch

    from narl.config.load import build
    from narl.config.trial import TrainConfig
    from narl.core.errors import TrialFailure
    from narl.core.steps import drained
    from narl.evaluation.evaluator import Evaluator

    torch.set_num_threads(max(1, math.floor(cpus)))
    evaluator = Evaluator(open_on_node(data), ("leakage",), (1,), "test", second_attempts=False)
    try:
        seed, _ = drained(evaluator.measure(build(TrainConfig, dict(run), "trial")), lambda step: None)
    except TrialFailure as error:
        return f"{type(error).__name__}: {error}"
    return seed


def _confirmed(contender: Contender, seeds: Mapping[int, Seed], objective: str, space: SearchSpace) -> ConfirmedTrial:
    record = contender.record
    ordered = [seeds[number] for number in sorted(seeds)]
    reports = [seed.report for seed in ordered]
    samples = SeedSamples([seed.per_image for seed in ordered], reports[0].label_floor)
    read = samples.leakage if objective == "delta" else samples.bound("1")
    bounds = [report.leakage_bound for report in reports if report.leakage_bound is not None]
    hidden = [report.leakage if objective == "delta" else report.leakage_bound or 100.0 for report in reports]
    doubts = dict.fromkeys(doubt for report in reports for doubt in report.doubts)
    return ConfirmedTrial(
        trial_id=record.trial_id,
        client=record.config.client,
        chance=contender.chance,
        searched=record.measured.value(objective),
        deltas=tuple(report.utility - less for report, less in zip(reports, hidden, strict=True)),
        utility=float(np.mean([report.utility for report in reports])),
        leakage=float(np.mean([report.leakage for report in reports])),
        leakage_bound=float(np.mean(bounds)) if len(bounds) == len(reports) else None,
        error=float(np.std((samples.utility - read).mean(axis=1))),
        doubts=tuple(doubts),
        costs={name: record.measured.value(name) for name in space.objectives if name in COST_NAMES},
    )
