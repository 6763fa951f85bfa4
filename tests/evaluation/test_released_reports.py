"""What narl 0.2 wrote is read by every later version; `released_0_2/` holds its own files, `docs/experiments/` larger ones.

A seed of 0.2 calls its doubts "flags"; seeds without are of a later version.

The files were written by 0.2 on 300 digits: seed.json and its .npz and comparison.json by `narl compare` with every attack,
report.json by `narl evaluate --audit class --queries 1,16,inf --seeds 2`, metrics.json by `narl train --seeds 2`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from narl.core.errors import DataError
from narl.evaluation.report import Summary
from narl.evaluation.seed import Seed
from narl.evaluation.summary import scalars, summarise

RELEASED = Path(__file__).parent / "released_0_2"
EXPERIMENTS = Path(__file__).parents[2] / "docs" / "experiments"

OLDER, NEWER = [RELEASED / "seed.json"], []
for kept in sorted(EXPERIMENTS.glob("*/seeds/*.json")):
    (OLDER if "flags" in json.loads(kept.read_text(encoding="utf-8")) else NEWER).append(kept)
COMPARISONS = [RELEASED / "comparison.json", *sorted(EXPERIMENTS.glob("*/comparison.json"))]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", OLDER, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_seed_is_read_whole_and_is_the_same_when_saved_again(path, tmp_path):
    released, seed = read(path), Seed.load(path)
    now = seed.report.to_json()
    assert now.pop("doubts") == released.pop("flags")
    assert now.pop("strongest_adversary") == max(released["adversaries"].values())
    for lacking in ("leakage_bound", "utility_bound", "utility_chance", "private_chance", "sigma_inference"):
        assert now.pop(lacking) is None
    assert now == released
    assert len(seed.per_image["private"]) == seed.report.num_samples
    seed.save(tmp_path / "again.json")
    assert Seed.load(tmp_path / "again.json").report == seed.report


@pytest.mark.parametrize("path", NEWER, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_a_later_version_kept_is_read_whole(path):
    assert Seed.load(path).report.to_json() == read(path)


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.parts[-2])
def test_a_comparison_is_read_whole(path):
    for name, released in read(path).items():
        summary = Summary.from_json(released)
        now = summary.to_json()
        assert list(summary.doubts) == released.pop("flags"), name
        seeds, released_seeds = now.pop("by_seed"), released.pop("by_seed")
        assert {key: value for key, value in now.items() if key in released} == released
        assert {number: one["delta"] for number, one in seeds.items()} == {
            number: one["delta"] for number, one in released_seeds.items()
        }
        assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_an_evaluations_report_is_read_whole():
    released, summary = read(RELEASED / "report.json"), Summary.load(RELEASED / "report.json")
    assert summary.doubts == tuple(released["flags"]) and summary.seeds == (3, 4)
    assert summary.mean == released["mean"] and summary.cost.client_gflops == released["cost"]["client_gflops"]
    for name in ("leakage_at_queries", "reconstruction_at_queries", "inversion", "control", "audit"):
        assert summary.findings[name] == released[name]
    assert summary.interval95["leakage_at_queries"]["16"] == tuple(released["interval95"]["leakage_at_queries"]["16"])
    assert scalars(summary)["leakage_at_16_queries"] == released["leakage_at_queries"]["16"]


def test_the_metrics_of_a_trained_client_are_read():
    released, summary = read(RELEASED / "metrics.json"), Summary.load(RELEASED / "metrics.json")
    assert summary.mean == released["mean"] and summary.label_floor == 20.0
    assert summary.interval95["delta"] == tuple(released["interval95_over_seeds"]["delta"])
    for number, report in summary.by_seed.items():
        one = released["by_seed"][str(number)]
        assert (report.delta, report.doubts, report.tags) == (one["delta"], tuple(one["doubts"]), one["tags"])
        assert report.paper_adversary == "rest" and report.balanced_leakage is None


def test_todays_summary_of_released_seeds_is_the_released_comparison():
    """Numbers stay: means and intervals of every row of Table 3 on digits."""
    folder = EXPERIMENTS / "digits_table3"
    compared = 0
    for name, released in read(folder / "comparison.json").items():
        (path,) = folder.glob(f"seeds/{name.replace(' ', '-')}-seed0-*.json")
        now = summarise({0: Seed.load(path)}, report_on="test").to_json()
        for key in ("mean", "interval95"):
            assert {part: now[key][part] for part in released[key]} == {
                part: value if key == "mean" else pytest.approx(value, rel=1e-12)
                for part, value in released[key].items()
            }
        assert now["reconstruction"]["interval95"] == {
            metric: value and pytest.approx(value, rel=1e-12)
            for metric, value in released["reconstruction"]["interval95"].items()
        }
        assert now["reconstruction"]["rebuilt"]["psnr"] == pytest.approx(released["reconstruction"]["rebuilt"]["psnr"])
        compared += 1
    assert compared == 14


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"by_seed": {}}', '{"by_seed": {"0": 1}, "num_samples": 1}'])
def test_what_is_no_report_is_refused_in_one_line(content, tmp_path):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError, match="not the report of an evaluation") as error:
        Summary.load(tmp_path / "report.json")
    assert "\n" not in str(error.value)
