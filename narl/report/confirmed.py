"""The report's answer to whether the front holds: contenders with fresh seeds, on test images."""

from __future__ import annotations

from collections.abc import Iterator

from narl.core.markdown import escaped, table
from narl.core.objectives import objective
from narl.report.subject import Subject, known_to
from narl.search.confirmed import CONFIDENCE


def confirmed(subject: Subject) -> Iterator[str]:
    """Write what `narl confirm` measured, or that nobody asked."""
    found = subject.confirmation
    if found is None:
        yield (
            "Nobody has asked yet. The best of many noisy numbers is partly luck: `narl confirm` trains those that may be "
            "worth considering anew, with fresh seeds, and reads them on test images."
        )
        return
    seeds, images = len(found.seeds), found.num_images
    yield (
        f"Clients that may be worth considering, as far as the images say, were trained anew {seeds} times and read on "
        f"{images} test images, which no choice had seen. Δ lost {found.lost:.1f} points on average against the "
        f"search. From one training to the next, Δ of one client differs by {found.scatter:.1f} points (standard deviation)."
    )
    kept = {trial.trial_id for trial in found.front(CONFIDENCE)}
    costs = tuple(found.trials[0].costs)
    yield table(
        [
            "client / split (trial)",
            *(f"{objective(cost).label}, {objective(cost).unit}" for cost in costs),
            *("Δ in the search", "Δ on test images", "at least", "useful, %", "attacker reads, %", "holds"),
        ],
        [
            [
                f"{escaped(trial.client)} ({trial.trial_id})",
                *(f"{trial.costs[cost]:.3g}" for cost in costs),
                f"{trial.searched:.1f}",
                known_to(trial.delta, found.half(trial, CONFIDENCE)),
                f"{found.lower(trial, CONFIDENCE):.1f}",
                f"{trial.utility:.1f}",
                f"{trial.leakage:.1f}",
                "yes" if trial.trial_id in kept else "no",
            ]
            for trial in found.by_cost
        ],
    )
    yield (
        "±: 95 % over trainings and images, of each client alone. At least: 95 % for all of them at once, so that it holds "
        "for the one that is chosen, too. Holds: none that costs no more has a higher lower limit."
    )
    for trial_id, why in found.failed.items():
        yield f"Trial {trial_id} could not be trained with every seed: {escaped(why)}."
