"""The report's answer to what more or less noise would do: the chosen client's σ profile, in words and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from narl.core.markdown import table
from narl.core.records import SigmaLevel, TrialRecord
from narl.core.sigma_choice import trained_and_used
from narl.report.subject import Subject
from narl.report.words import labels

# Beside the Markdown, and drawn in its place on the page.
PROFILE = "sigma_profile.png"


def profiled(subject: Subject) -> TrialRecord | None:
    """Give the chosen trial, if it adds noise and has a profile over σ."""
    chosen = subject.chosen
    if not isinstance(chosen, TrialRecord) or not chosen.measured.sigma_profile:
        return None
    return chosen if min(trained_and_used(chosen)) > 0 else None


def other_noise(subject: Subject) -> Iterator[str]:
    """Write what the chosen client would give with other noise, or that it was not recorded."""
    record = profiled(subject)
    if record is None:
        yield (
            "Not known: no client was chosen, or its noise has no strength σ to change, or no formula read its answers."
        )
        return
    profile = record.measured.sigma_profile
    trained, used = (_nearest(profile, sigma) for sigma in trained_and_used(record))
    more, less = _nearest(profile, 2 * used.sigma), _nearest(profile, used.sigma / 2)
    told = [_told(subject, level, used, words) for level, words in ((more, "more"), (less, "less")) if level != used]
    yield " ".join(told)
    yield f"![What is read of the chosen client, and Δ, over σ of its noise]({PROFILE})"
    heads = ("useful, %", "attacker reads, %", "nobody above, %", "Δ, points", "Δ certain, points", "this σ is")
    rows = []
    for level in _some(profile, used, trained, more, less):
        what = " and ".join(word for word, sigma in (("of training", trained), ("in use", used)) if level == sigma)
        numbers = (level.utility, level.leakage, level.bound, level.delta, level.delta_certified)
        rows.append([f"{level.sigma:.3g}", *(f"{number:.1f}" for number in numbers), what])
    yield table(["σ", *heads], rows)
    yield (
        "σ is the standard deviation of the noise; the client stays as it was trained. All of this is read by the formula, "
        "on validation images. Networks learnt and attacked at the σ in use alone, so what is said of it above may differ."
    )


def _told(subject: Subject, level: SigmaLevel, used: SigmaLevel, words: str) -> str:
    utility, private = labels(subject)
    gained = f"{level.delta - used.delta:+.1f}".replace("-", "−")
    return (
        f"**With {words} noise** (σ {level.sigma:.3g}, {level.sigma / used.sigma:.2g} times that in use) the service would "
        f"read {utility} for {level.utility:.1f} % of the images instead of {used.utility:.1f} %, and the attacker "
        f"{private} for {level.leakage:.1f} % instead of {used.leakage:.1f} %: Δ {gained} points."
    )


def _nearest(profile: Sequence[SigmaLevel], sigma: float) -> SigmaLevel:
    return min(profile, key=lambda level: abs(math.log(level.sigma / sigma)))


def _some(profile: Sequence[SigmaLevel], *always: SigmaLevel) -> list[SigmaLevel]:
    """List every second level, counted from the first of `always`, and all of these."""
    place = profile.index(always[0])
    return [level for i, level in enumerate(profile) if (i - place) % 2 == 0 or level in always]
