"""A front confirmed as a user does it: a search, the command, its answer, and the command again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from example_pipelines import DIGITS
from searched_here import search_here
from tiny_search import narl, write_space

from narl.cli.main import main
from narl.config.search_space import SearchSpace
from narl.confirmation.run import confirm, measure
from narl.core.errors import ConfigError, NothingFeasible
from narl.evaluation.final import train
from narl.search.confirmed import Confirmation
from narl.search.folder import SearchFolder
from narl.search.node_data import NodeData

pytestmark = pytest.mark.timeout(1200)

COMMAND = ("confirm", "tiny", "--seeds", "2", "--with-worthless")


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    """Two trials and what was said of them; what an epoch teaches may be no more than guessing."""
    folder = tmp_path_factory.mktemp("confirmed")
    search_here(folder, trials=2, sigma=1, **{"lambda": 0.01})
    done = narl(folder, *COMMAND)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


@pytest.fixture
def typed(confirmed, monkeypatch, capsys):
    """Another command in that folder, in this process: gives its exit code, standard output and standard error."""
    folder, _ = confirmed
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NARL_CACHE", str(folder / "cache"))
    monkeypatch.delenv("NARL_RUNS", raising=False)

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return main(argv), *capsys.readouterr()

    return run


def search_in(folder: Path) -> SearchFolder:
    return SearchFolder(folder / "narl-runs" / "tiny")


def test_each_contender_has_fresh_seeds_on_test_images(confirmed):
    folder, _ = confirmed
    found = Confirmation.load(search_in(folder).path)
    assert found.seeds == (1, 2)  # the search's own is 0
    assert found.num_images == 100
    assert 1 <= len(found.trials) <= 2 and found.failed == {}
    for trial in found.trials:
        # The same seed and images, by another way: `narl train`.
        config = search_in(folder).config_of(trial.trial_id)
        alone = train(config.with_seed(1)).metrics
        assert trial.deltas[0] == pytest.approx(alone.delta, abs=1e-4)
        assert trial.searched == config.found_by.delta
        assert trial.costs["client_gflops"] == alone.cost.client_gflops


def test_it_says_what_holds_line_by_line(confirmed):
    folder, done = confirmed
    found = Confirmation.load(search_in(folder).path)
    for trial in found.trials:
        (row,) = [line for line in done.stdout.splitlines() if f"{trial.client} ({trial.trial_id})" in line]
        assert f" {trial.delta:.1f} " in row and f" {found.lower(trial, 0.95):.1f} " in row
        holds = trial in found.front(0.95)
        assert (" yes " if holds else " no ") in row
    assert re.search(r"Δ is \d+\.\d points (lower|higher) than in the search", done.stdout)
    assert f"{2 * len(found.trials)} of {2 * len(found.trials)}, trial" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_the_same_command_measures_only_what_is_missing(confirmed, typed):
    folder, first = confirmed
    kept = sorted((search_in(folder).path / "confirmed").glob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert typed(*COMMAND)[1] == first.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    kept[0].unlink()
    assert typed(*COMMAND)[1] == first.stdout  # the same seed, the same numbers
    assert [path for path in kept if path.stat().st_mtime_ns != before[path]] == kept[:1]


def test_best_config_tells_it_of_what_it_chooses(confirmed, typed):
    folder, _ = confirmed
    found = Confirmation.load(search_in(folder).path)
    _, answer, _ = typed("best-config", "--with-worthless")
    chosen = yaml.safe_load(answer)["found_by"]["trial_id"]
    said = found.told(chosen)
    assert (f"# {said}\n" in answer) if said else ("fresh seeds" not in answer)
    assert any(found.told(trial.trial_id) for trial in found.trials)
    _, answer, _ = typed("best-config", "--with-worthless", "--confirmed", "--explain")
    best = max(found.trials, key=lambda trial: found.lower(trial, 0.95))
    assert yaml.safe_load(answer)["found_by"]["trial_id"] == best.trial_id
    assert "lower bound of Δ on test images" in answer.replace("\n# ", " ")


def test_damaged_seeds_are_named(confirmed, typed):
    folder, _ = confirmed
    path = sorted((search_in(folder).path / "confirmed").glob("*.json"))[0]
    whole = path.read_text()
    path.write_text(whole[:50])
    code, _, told = typed(*COMMAND)
    path.write_text(whole)
    assert code == 2 and path.name in told and "delete both" in told
    assert "Traceback" not in told


def test_other_images_are_refused(confirmed):
    folder, _ = confirmed
    images = search_in(folder).images_path
    known = images.read_text()
    images.write_text(json.dumps(json.loads(known) | {"content": "of other images"}))
    try:
        with pytest.raises(ConfigError, match="which have changed since"):
            confirm(search_in(folder), with_worthless=True)
    finally:
        images.write_text(known)


def test_a_contender_that_cannot_be_trained_says_so(confirmed):
    folder, _ = confirmed
    search = search_in(folder)
    run = search.config_of(0).model_dump(mode="json", by_alias=True)
    run["trial"] |= {"sigma": 3e38, "sigma_inference": None}
    data = NodeData(search.load_space().pipeline, splits=("train", "validation", "test"))
    assert measure(run, data.arguments, 1.0).startswith("DivergedTraining: epoch 1")


def test_a_search_confirms_its_front_in_the_share_of_the_time_that_is_kept_for_it(tmp_path, monkeypatch, capsys):
    images = DIGITS | {"splits": {"train_limit": 500, "validation_limit": 100, "test_limit": 100}}
    training, clients = {"epochs": 4, "batch_size": 32}, {"mobilenet_v3_small": {"split_points": [12]}}
    search = search_here(
        tmp_path,
        **{"trials": 1, "lambda": 0.01, "sigma": 1, "sigma_inference": "trained"},
        **{"pipeline": images, "architectures": clients, "training": training},
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NARL_RUNS", raising=False)

    def said(share: str) -> str:
        assert main(["search", "tiny.yaml", "--resume", "--confirm-share", share]) == 0
        return capsys.readouterr().out

    assert "2 % of the time is too little to train one client with 3 fresh seeds" in said("0.02")
    assert Confirmation.load(search.path) is None
    told = said("0.8")  # of all time, four times what the search took: its trial with three seeds
    found = Confirmation.load(search.path)
    assert found.seeds == (1, 2, 3) and len(found.trials) == 1
    assert "1 contender, 3 fresh seeds each, 100 test images" in told and "mobilenet_v3_small/12 (0)" in told
    assert "narl-runs/tiny/ledger.jsonl" in told.partition("contender")[0]  # the search's own answer comes first


def test_searches_of_other_objectives_are_refused(tmp_path):
    search = SearchFolder(tmp_path / "tiny")
    space = yaml.safe_load(write_space(tmp_path).read_text()) | {"objectives": ["utility", "leakage"]}
    search.path.mkdir()
    search.space_path.write_text(yaml.safe_dump(space))
    with pytest.raises(ConfigError, match=r"objectives utility, leakage; narl confirm takes searches whose"):
        confirm(search)


def test_a_share_of_the_time_budget_is_kept(tmp_path):
    space = SearchSpace.load(write_space(tmp_path)).changed(time_budget_minutes=10)
    assert space.minutes_for_trials == 10
    kept = space.changed(confirm_share=0.2)
    assert kept.minutes_for_trials == pytest.approx(8)
    assert kept.content_hash == space.content_hash  # a search may be resumed with another
    with pytest.raises(ConfigError, match="confirm_share is for delta or delta_certified.* utility, leakage: leave it"):
        kept.changed(objectives=["utility", "leakage"])
    with pytest.raises(ConfigError, match="confirm_share: .*0.9"):
        space.changed(confirm_share=0.95)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_of_nothing_or_of_all_is_refused(share):
    with pytest.raises(ConfigError, match="`share` must be above 0 and below 1"):
        confirm("tiny", share=share)


def test_a_search_without_trials_has_nothing_to_confirm(tmp_path):
    search = SearchFolder(tmp_path / "tiny")
    search.path.mkdir()
    search.space_path.write_text(write_space(tmp_path).read_text())
    with pytest.raises(NothingFeasible, match="nothing to confirm"):
        confirm(search)


def test_one_seed_says_nothing_about_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["confirm", "--seeds", "1"])
    assert "argument --seeds: at least 2, as one says nothing about others; got '1'" in capsys.readouterr().err
