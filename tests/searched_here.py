"""A search whose trials run in this process: seconds, where Ray, its workers and MLflow are not the point."""

from __future__ import annotations

from pathlib import Path

from tiny_search import write_space

from narl.config.search_space import SearchSpace
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger
from narl.search.same_images import remember_images
from narl.search.session import SearchSession
from narl.search.space import affordable
from narl.search.study import SearchStudy
from narl.trial import run_trial


def search_here(folder: Path, **changes) -> SearchFolder:
    """What `narl search tiny.yaml` leaves in `folder`, but for MLflow; `changes` are of the space."""
    space = SearchSpace.load(write_space(folder, **changes))
    search = SearchFolder(folder / "narl-runs" / space.name)
    search.save_space(space)
    dataset = open_dataset(space.pipeline, cache_dir=folder / "cache")
    remember_images(search, space, dataset)
    ledger, name = Ledger(search.ledger_path), f"{space.name}-{space.content_hash}"
    study = SearchStudy(name=name, url=search.study_url, space=affordable(space), ledger=ledger)
    session = SearchSession(study, ledger, trials=space.trials)
    while proposal := session.propose():
        trial_id, config = proposal
        outcome = drained(run_trial(space.train_config(config), dataset), lambda progress: None)
        found = {"metrics": outcome.metrics.to_json(), "curves": outcome.curves, "tags": outcome.tags}
        session.complete(trial_id, found)
    return search
