"""Why a configuration is the answer, in plain words: what it is compared with, what was refused, what is uncertain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from narl.core.chance import least_difference
from narl.core.knee import staircase
from narl.core.objectives import objective
from narl.core.pareto import candidates
from narl.core.plural import counted
from narl.core.records import TrialRecord
from narl.search.best import Demands
from narl.search.confirmed import CONFIDENCE
from narl.search.other_sigma import is_in_closed_form

# More refusals than this are counted, not told one by one.
MOST_REFUSED = 5


def explained(records: Sequence[TrialRecord], asked: Demands, chosen: TrialRecord) -> Iterator[str]:
    """Say why `chosen` is what `asked` chooses of `records`, a sentence or two at a time."""
    every = candidates(asked.at_fitting_sigma(records), worthless=True)
    fitting = asked.fitting(records)
    yield from _why(every, fitting, asked, chosen, knee=asked.knee_of(records))
    yield from _neighbours(every, fitting, asked, chosen)
    yield from _refused(every, asked, chosen)
    yield from _uncertain(fitting, asked, chosen)


def _goal(asked: Demands) -> str:
    goal = "certified Δ" if asked.certified else "Δ"
    if asked.confirmation is not None:
        return f"lower bound of {goal} on test images"
    return goal if asked.confidence is None else f"{goal} at {100 * asked.confidence:g} % confidence"


def _why(
    every: Sequence[TrialRecord],
    fitting: Sequence[TrialRecord],
    asked: Demands,
    chosen: TrialRecord,
    *,
    knee: TrialRecord | None,
) -> Iterator[str]:
    count = "counts" if len(fitting) == 1 else "count"
    yield f"Of {counted(len(every), 'finished trial')} {len(fitting)} {count} and are within every bound."
    best = f"the highest {_goal(asked)} of them, {asked.worth(chosen):.2f}"
    if asked.knee is None:
        yield f"Trial {chosen.trial_id} has {best}."
    elif knee is None:
        yield f"Their front has no knee, as none lies above the line from its cheapest to its dearest: chosen is {best}."
    else:
        yield (
            f"Trial {chosen.trial_id} is the knee: of their front it lies farthest above the line from the cheapest to "
            f"the dearest, {_goal(asked)} over the logarithm of {asked.knee}, both scaled to 0 to 1 (Kneedle, Satopää et "
            "al. 2011)."
        )
    if is_in_closed_form(chosen):
        yield (
            "As it was measured it misses a bound, which it meets with noise of another σ: its numbers at that σ are in "
            "closed form, from the profile of the trial."
        )


def _neighbours(
    every: Sequence[TrialRecord], fitting: Sequence[TrialRecord], asked: Demands, chosen: TrialRecord
) -> Iterator[str]:
    name = asked.knee or "client_gflops"
    own = chosen.measured.value(name)
    cheaper = [r for r in _stairs(fitting, asked, name) if r.measured.value(name) < own]
    counting = candidates(every, worthless=asked.with_worthless)
    dearer = [r for r in _stairs(counting, asked, name) if r.measured.value(name) > own]
    dearer = [r for r in dearer if asked.worth(r) > asked.worth(chosen)]
    if cheaper:
        yield f"The next cheaper one, {_step(cheaper[-1], chosen, asked, name)}."
    else:
        yield f"Nothing within every bound costs less, in {objective(name).unit}."
    if dearer:
        reason = _why_refused(dearer[0], asked)
        yield f"The next dearer one, {_step(dearer[0], chosen, asked, name)}{reason and f'; but {reason}'}."
    else:
        yield f"Nothing that costs more has a higher {_goal(asked)}."


def _stairs(records: Sequence[TrialRecord], asked: Demands, name: str) -> list[TrialRecord]:
    at = staircase([r.measured.value(name) for r in records], [asked.worth(r) for r in records])
    return [records[i] for i in at]


def _step(other: TrialRecord, chosen: TrialRecord, asked: Demands, name: str) -> str:
    there, here = other.measured.value(name), chosen.measured.value(name)
    gain = asked.worth(other) - asked.worth(chosen)
    share = "" if here == 0 else f" ({100 * (there / here - 1):+.0f} %)"
    return (
        f"trial {other.trial_id} ({other.config.client}), takes {there:.4g} {objective(name).unit} instead of "
        f"{here:.4g}{share} and {'gains' if gain > 0 else 'loses'} {abs(gain):.2f} points"
    )


def _refused(every: Sequence[TrialRecord], asked: Demands, chosen: TrialRecord) -> Iterator[str]:
    better = sorted((r for r in every if asked.worth(r) > asked.worth(chosen)), key=asked.worth, reverse=True)
    for record in better[:MOST_REFUSED]:
        reason = _why_refused(record, asked) or "the knee is cheaper"
        yield f"Trial {record.trial_id} has {_goal(asked)} {asked.worth(record):.2f} and is not chosen: {reason}."
    if len(better) > MOST_REFUSED:
        yield f"So are {len(better) - MOST_REFUSED} more of a higher {_goal(asked)} not chosen."


def _why_refused(record: TrialRecord, asked: Demands) -> str:
    """Say which bounds a record misses, or why it does not count; empty if neither."""
    value = record.measured.value
    missed = [
        f"{n} is {value(n):.4g}, and at most {v:g} is asked for" for n, v in asked.at_most.items() if value(n) > v
    ]
    missed += [
        f"{n} is {value(n):.4g}, and at least {v:g} is asked for" for n, v in asked.at_least.items() if value(n) < v
    ]
    if record.why_not_counted and not asked.with_worthless:
        missed.append(record.why_not_counted)
    return "; ".join(missed)


def _uncertain(fitting: Sequence[TrialRecord], asked: Demands, chosen: TrialRecord) -> Iterator[str]:
    m, confidence = chosen.measured, asked.confidence or CONFIDENCE
    if m.num_samples is None:
        yield "Nobody recorded on how many images it was measured: how far chance reaches is unknown."
        return
    value = m.value(asked.best)
    least = least_difference(m.utility, m.utility - value, m.num_samples, confidence)
    goal = "certified Δ" if asked.certified else "Δ"
    yield (
        f"On other images like these {m.num_samples} its {goal} exceeds {least:.2f} with {100 * confidence:g} % confidence "
        "(Wilson's intervals of both accuracies, however one depends on the other). That covers the images. It covers no "
        f"other seed or training, and not that of {counted(len(fitting), 'trial')} the best on these images was chosen, σ "
        "at inference too: narl confirm asks fresh seeds and test images."
    )
    if near := sum(r.trial_id != chosen.trial_id and r.measured.value(asked.best) > least for r in fitting):
        yield f"{counted(near, 'other trial')} within every bound cannot be told from it by these images."
