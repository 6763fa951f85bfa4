"""Does a search rank clients as a long evaluation does? Every finished trial of a search, trained and attacked at length.

A trial is trained anew under its own seed and σ, and attacked by `bayes`, `rest`, `mlp` and `conv` for up to 40 epochs,
with second attempts, on test images, which no choice has seen. What has been measured is kept in a file; a second run
goes on with it. There is no peer.

    narl search search_spaces/digits.yaml
    python -m benchmarks.rank_correlation narl-runs/digits
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.measure import pin_threads

ADVERSARIES = ("bayes", "rest", "mlp", "conv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search", type=Path, help="folder of a search")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("rank_correlation.json"))
    args = parser.parse_args()
    pin_threads(1)
    from narl.search.ledger import read_ledger

    records = [record for record in read_ledger(args.search / "ledger.jsonl") if record.metrics]
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    # Those that guess last: their adversaries learn nothing for longest.
    by_length = sorted(records, key=lambda record: record.metrics.utility_is_a_guess)
    missing = [record.trial_id for record in by_length if str(record.trial_id) not in kept]
    pool = ProcessPoolExecutor(args.workers, mp_context=get_context("spawn"), initializer=pin_threads, initargs=(1,))
    with pool:
        for done in as_completed([pool.submit(measured, args.search, trial_id) for trial_id in missing]):
            kept |= done.result()
            args.out.write_text(json.dumps(kept, indent=1))
            print(f"{len(kept)} of {len(records)}", flush=True)
    show(records, kept)


def measured(search: Path, trial_id: int) -> dict[str, dict[str, Any]]:
    """One trial of a search, at length, by its number."""
    from narl.config.search_space import SearchSpace
    from narl.core.steps import drained
    from narl.data.dataset import open_dataset
    from narl.evaluation.evaluator import Evaluator
    from narl.search.ledger import read_ledger

    record = next(record for record in read_ledger(search / "ledger.jsonl") if record.trial_id == trial_id)
    space = SearchSpace.load(search / "search_space.yaml")
    config = space.train_config(record.config).with_attack(
        clean_epochs=4, max_epochs=40, min_epochs=10, patience=6, adversaries=ADVERSARIES
    )
    dataset = open_dataset(config.pipeline, splits=("train", "validation", "test"))
    _, outcome = drained(Evaluator(dataset, ("leakage",), (1,)).measure(config), lambda step: None)
    metrics = outcome.metrics
    assert metrics.leakage_bound is not None
    return {
        str(trial_id): {
            "utility": metrics.utility,
            "leakage": metrics.leakage,
            "leakage_bound": metrics.leakage_bound,
            "delta": metrics.delta,
            "adversaries": metrics.adversaries,
            "seconds": outcome.trained.seconds + outcome.attack_seconds,
            "doubts": outcome.tags.get("doubts", ""),
        }
    }


def show(records: list[Any], kept: dict[str, dict[str, Any]]) -> None:
    """Both Δ of every trial, and how well they agree: all trials, and those whose utility is not a guess."""
    from scipy.stats import kendalltau, spearmanr

    print("trial | client | search: Δ | utility − leakage | at length: Δ | utility − leakage | strongest | minutes")
    print("---|---|---|---|---|---|---|---")
    records = [record for record in records if str(record.trial_id) in kept]
    for record in records:
        found, metrics = kept[str(record.trial_id)], record.metrics
        strongest = max(found["adversaries"], key=found["adversaries"].get)
        print(
            f"{record.trial_id} | {record.config.client} | {'≤' if record.tags.get('doubts') else ''}{metrics.delta:.2f} | "
            f"{metrics.utility:.2f} − {metrics.leakage:.2f}–{metrics.leakage_bound:.2f} | {found['delta']:.2f} | "
            f"{found['utility']:.2f} − {found['leakage']:.2f}–{found['leakage_bound']:.2f} | {strongest} | "
            f"{found['seconds'] / 60:.1f}"
        )
    for name, some in (
        ("all trials", records),
        ("those that are no guess", [record for record in records if not record.metrics.utility_is_a_guess]),
    ):
        searched = [record.metrics.delta for record in some]
        at_length = [kept[str(record.trial_id)]["delta"] for record in some]
        leaked = [kept[str(r.trial_id)]["leakage"] - r.metrics.leakage for r in some]
        useful = [kept[str(r.trial_id)]["utility"] - r.metrics.utility for r in some]
        print(
            f"{name}: {len(some)}; Spearman {spearmanr(searched, at_length)[0]:.2f}, "
            f"Kendall {kendalltau(searched, at_length)[0]:.2f}; at length leakage {statistics.fmean(leaked):+.2f}, "
            f"utility {statistics.fmean(useful):+.2f} points on average"
        )


if __name__ == "__main__":
    main()
