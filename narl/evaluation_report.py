"""What an evaluation reports: one seed's numbers, and means over seeds with 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from narl.attacks.audit import Audit
from narl.attacks.averaging import Averaging, name_of
from narl.attacks.control import Control
from narl.attacks.fit import EVALUATION_DRAWS
from narl.attacks.image_metrics import mean_of
from narl.attacks.inversion import Inversion
from narl.attacks.leakage import Leakage
from narl.attacks.reconstruction import Reconstruction
from narl.intervals import bootstrap_interval
from narl.seeds import derive_seed
from narl.trial import TrialOutcome

Pictures = dict[str, np.ndarray]  # uint8 [K, S, S, 3] by the name of a row
REPORTED = ("utility", "leakage", "delta", "delta_paper", "balanced_leakage", "worst_class_leakage", "advantage")


@dataclass(frozen=True)
class SeedResult:
    """What one seed measured.

    Attributes:
        outcome: of training and of the leakage attack.
        averaging, inversion, control: None if that attack was not asked for.
        reconstructions: by the number of answers averaged, 1 among them; empty if not asked for.
        audits: by column.
        guarantee: see `narl.attacks.gaussian_mechanism.guarantee`.
        flags: reasons to doubt the leakage, in words; empty if there is none.
    """

    outcome: TrialOutcome
    flags: tuple[str, ...]
    averaging: Averaging | None
    reconstructions: dict[float, Reconstruction]
    inversion: Inversion | None
    control: Control | None
    audits: dict[str, Audit]
    guarantee: dict[str, Any] | None

    @property
    def leakage(self) -> Leakage:
        return self.outcome.leakage

    @property
    def pictures(self) -> Pictures:
        """Original images and what attacks rebuilt of them; empty if none was to."""
        rows = self.reconstructions[1].pictures if self.reconstructions else {}
        if self.inversion is not None:
            rows = {"original": self.inversion.originals, **rows, "inversion": self.inversion.pictures}
        return {name: images.numpy() for name, images in rows.items()}


def seed_report(result: SeedResult) -> dict[str, Any]:
    """One seed's numbers; `per_image` holds what intervals are made of, a digit an image (see `packed`)."""
    leakage, metrics = result.leakage, result.outcome.metrics
    strongest = leakage.strongest.scores
    above_floor = leakage.strongest_adversary >= leakage.label_floor
    report: dict[str, Any] = {
        "utility": leakage.utility,
        "leakage": leakage.leakage,
        "delta": leakage.utility - leakage.leakage,
        "delta_paper": leakage.utility - leakage.strongest_adversary,
        "label_floor": leakage.label_floor,
        "advantage": leakage.leakage - leakage.label_floor,
        "balanced_leakage": strongest.balanced_accuracy,
        "worst_class_leakage": max(strongest.by_class),
        "leakage_by_class": strongest.by_class,
        "adversaries": leakage.adversaries,
        "feature_rms": leakage.feature_rms,
        "snr_db": metrics.snr_db,
        "num_samples": leakage.num_samples,
        "flags": list(result.flags),
        "train_seconds": metrics.train_seconds,
        "attack_seconds": metrics.attack_seconds,
        "cost": metrics.to_json()["cost"],
        "tags": result.outcome.tags,
        "per_image": {
            "utility": packed(leakage.utility_reading.scores.hits),
            "leakage": packed(strongest.hits) if above_floor else None,
            "audit": {
                column: packed(audit.reading.scores.hits) if audit.leakage > audit.label_floor else None
                for column, audit in result.audits.items()
            },
        },
    }
    if result.averaging is not None:
        by_n = result.averaging.leakage
        report["averaging"] = {
            "leakage_at_queries": {name_of(n): percent for n, percent in by_n.items()},
            "delta_at_queries": {name_of(n): leakage.utility - percent for n, percent in by_n.items()},
            "query_budget": name_of(result.averaging.query_budget),
        }
    if result.reconstructions:
        report["reconstruction"] = result.reconstructions[1].to_json()
        report["reconstruction_at_queries"] = {
            name_of(n): reconstruction.to_json() for n, reconstruction in result.reconstructions.items()
        }
    if result.inversion is not None:
        report["inversion"] = result.inversion.to_json()
    if result.control is not None:
        report["control"] = asdict(result.control)
    if result.audits:
        report["audit"] = {
            column: {
                "leakage": audit.leakage,
                "label_floor": audit.label_floor,
                "advantage": audit.leakage - audit.label_floor,
                "classes": len(audit.classes),
            }
            for column, audit in result.audits.items()
        }
    if result.guarantee is not None:
        report["differential_privacy"] = result.guarantee
    return report


def packed(hits: Tensor) -> str:
    """[N] shares of the draws that were read right -> one digit an image, the number of draws of `EVALUATION_DRAWS`."""
    return "".join(str(round(EVALUATION_DRAWS * share)) for share in hits.tolist())


def unpacked(digits: str) -> np.ndarray:
    """What `packed` packed, in percent: float64 [N]."""
    counts = np.frombuffer(digits.encode(), dtype=np.uint8).astype(np.float64) - ord("0")
    return counts * (100 / EVALUATION_DRAWS)


def summarise(by_seed: Mapping[int, dict[str, Any]], *, report_on: str, one_client: bool = False) -> dict[str, Any]:
    """Means over seeds, intervals over images and seeds, and every seed's report without its values an image.

    Args:
        by_seed: reports of `evaluate_seed`.
        one_client: whether all seeds attacked one trained client, rather than each its own.
    """
    seeds, by_seed = list(by_seed), list(by_seed.values())
    utility = [unpacked(seed["per_image"]["utility"]) for seed in by_seed]
    leakage = [_of_images(seed, seed["per_image"]["leakage"], seed["leakage"]) for seed in by_seed]
    resampling = derive_seed(0, "bootstrap")
    report: dict[str, Any] = {
        "reported_on": report_on,
        "num_samples": by_seed[0]["num_samples"],
        "seeds": seeds,
        "client": "the same trained client for every seed" if one_client else "trained afresh with each seed",
        "mean": _means(by_seed, REPORTED),
        "interval95": {
            "utility": bootstrap_interval(utility, seed=resampling),
            "leakage": bootstrap_interval(leakage, seed=resampling),
            "delta": bootstrap_interval([u - a for u, a in zip(utility, leakage, strict=True)], seed=resampling),
        },
        "label_floor": by_seed[0]["label_floor"],
        "cost": by_seed[0]["cost"],
        "flags": sorted({flag for seed in by_seed for flag in seed["flags"]}),
    }
    if all("averaging" in seed for seed in by_seed):
        for key in ("leakage_at_queries", "delta_at_queries"):
            each = [seed["averaging"][key] for seed in by_seed]
            report[key] = _means(each, each[0])
        report["query_budget"] = [seed["averaging"]["query_budget"] for seed in by_seed]
    if all("reconstruction" in seed for seed in by_seed):
        report["reconstruction"] = _mean_reconstruction([seed["reconstruction"] for seed in by_seed])
    if all("reconstruction_at_queries" in seed for seed in by_seed):
        report["reconstruction_at_queries"] = {
            n: _mean_reconstruction([seed["reconstruction_at_queries"][n] for seed in by_seed])
            for n in by_seed[0]["reconstruction_at_queries"]
        }
    if all("inversion" in seed for seed in by_seed):
        each = [seed["inversion"] for seed in by_seed]
        report["inversion"] = {name: mean_of([one[name] for one in each]) for name in ("rebuilt", "mean_image")}
        report["inversion"]["images"] = each[0]["images"]
    if all("control" in seed for seed in by_seed):
        each = [seed["control"] for seed in by_seed]
        report["control"] = _means(each, each[0])
    if all("audit" in seed for seed in by_seed):
        report["audit"] = {column: _mean_audit(by_seed, column, resampling) for column in by_seed[0]["audit"]}
    if "differential_privacy" in by_seed[0]:
        report["differential_privacy"] = by_seed[0]["differential_privacy"]
    report["by_seed"] = {
        str(number): {key: value for key, value in seed.items() if key != "per_image"}
        for number, seed in zip(seeds, by_seed, strict=True)
    }
    return report


def _means(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _of_images(seed: Mapping[str, Any], digits: str | None, floor: float) -> np.ndarray:
    """Percent by image; a leakage that is the floor's is the same for every image."""
    return unpacked(digits) if digits else np.full(seed["num_samples"], floor)


def _mean_reconstruction(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{name: mean_of([one[name] for one in each]) for name in ("rebuilt", "mean_image")},
        **_means(each, ("read_rebuilt", "read_clean")),
    }


def _mean_audit(by_seed: Sequence[dict[str, Any]], column: str, resampling: int) -> dict[str, Any]:
    each = [seed["audit"][column] for seed in by_seed]
    images = [
        _of_images(seed, seed["per_image"]["audit"][column], seed["audit"][column]["leakage"]) for seed in by_seed
    ]
    mean = _means(each, ("leakage", "label_floor", "advantage"))
    return {**mean, "interval95": bootstrap_interval(images, seed=resampling), "classes": each[0]["classes"]}
