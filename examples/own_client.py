"""Is a digit private once it is pixelated? A client of one's own, any torch.nn.Module, attacked as narl attacks its own.

python examples/own_client.py        # half a minute on two CPU cores
"""

from pathlib import Path

from torch import nn

import narl

DIGITS = Path(__file__).parents[1] / "pipelines" / "digits.yaml"


def server(outputs: int) -> nn.Module:
    """Reads what the client sends, [B, 192]; a fresh network for each label that is to be read."""
    return nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, outputs))


def main() -> None:
    pixelated = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())  # [B, 3, 32, 32] -> [B, 192]
    for sigma in (0.1, 1.0):
        summary = narl.evaluate(
            pixelated,
            pipeline=DIGITS,
            noise=sigma,
            server=server,
            attack={"max_epochs": 20, "min_epochs": 5, "patience": 3},
            adversaries=("bayes", "rest"),
            attacks=("certificate",),
            seeds=(0, 1, 2),
        )
        bounds = [report.leakage_bound for report in summary.by_seed.values()]
        low, high = summary.interval95["delta"]
        print(f"σ {sigma}: {summary.cost.client_gflops:.2g} GFLOPs, {summary.cost.uplink_kib:.2g} KiB an image")
        print(f"  is it odd: {summary.mean['utility']:.1f} % right; which digit: {summary.mean['leakage']:.1f} % read,")
        print(f"  and nobody reads more than {max(bounds):.1f} % of these images")
        print(f"  Δ {summary.mean['delta']:.1f} [{low:.1f}, {high:.1f}]")
        for doubt in summary.doubts:
            print(f"  doubt: {doubt}")


if __name__ == "__main__":
    main()
