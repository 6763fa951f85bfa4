"""Search a small design space on scikit-learn's digits, and ask for the best client that can be afforded.

python examples/search.py        # two minutes on two CPU cores; the search is left in narl-runs/example
"""

from pathlib import Path

import narl
from narl.core.errors import NothingFeasible

DIGITS = Path(__file__).parents[1] / "pipelines" / "digits.yaml"


def main() -> None:
    space = narl.SearchSpace(
        name="example",
        pipeline=narl.Pipeline.load(DIGITS),
        architectures={"mobilenet_v3_small": {"split_points": [3, 8]}},
        sigma={"low": 0.3, "high": 3, "log": True},
        **{"lambda": 0.01},
        trials=4,
        seed=0,
        training={"epochs": 6, "batch_size": 64},
        attack={"max_epochs": 12, "min_epochs": 5, "patience": 3, "batch_size": 64, "adversaries": ["bayes", "mlp"]},
    )
    result = narl.search(space, resume=True, on_trial=lambda record: print(record.config.client, record.config.numbers))
    for record in result.records:
        print(f"trial {record.trial_id}: Δ {record.measured.delta:.1f}, leakage {record.leakage_bracket} %")
    try:
        best = narl.best_config(result.folder, budget_gflops=0.01, certified=True)
    except NothingFeasible as reason:
        print(reason)
    else:
        print(f"best: trial {best.found_by.trial_id}, {best.trial.client}, {best.trial.numbers}")


if __name__ == "__main__":  # Ray's workers import this file
    main()
