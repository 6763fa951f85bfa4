"""Phrases of the report: what was measured, with its unit and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from narl.core.errors import NothingFeasible
from narl.core.markdown import bullets, escaped, table
from narl.core.records import TrialRecord
from narl.data.splits import SPLITS
from narl.report.gains import Step, one_unit_more
from narl.report.subject import Subject, known_to

CLASSES_SHOWN = 20

# Unit of each cost, and what is counted in it.
_COSTS = {
    "client_gflops": ("GFLOPs", "an image"),
    "client_memory_mib": ("MiB", "of memory"),
    "uplink_kib": ("KiB", "sent an image"),
    "peak_activation_mib": ("MiB", "while it runs"),
    "client_latency_ms": ("ms", "an answer"),
}

# How each adversary goes about it.
_ATTACKERS = {
    "bayes": "**a formula** (Bayes' rule) over all training images, which also gives the limit that nobody exceeds",
    "rest": "**a network** like the rest of the client's own, trained for this",
    "mlp": "**a network** of fully connected layers on averaged features, trained for this",
    "conv": "**a convolutional network** on the whole answer, trained for this",
}


def refusal(error: NothingFeasible) -> str:
    """Say why there is no choice, in the command line's words."""
    return escaped(str(error).replace("`with_worthless`", "--with-worthless"))


def labels(subject: Subject) -> tuple[str, str]:
    pipeline = subject.space.pipeline
    return f"“{escaped(pipeline.utility.name)}”", f"“{escaped(pipeline.private.name)}”"


def row(subject: Subject, record: TrialRecord) -> list[str]:
    m = record.measured
    certain = "–" if m.delta_certified is None else f"{m.delta_certified:.1f}"
    return [
        client(record),
        *(f"{m.cost.client_gflops:.3g}", f"{m.cost.client_memory_mib:.3g}", f"{m.cost.uplink_kib:.3g}"),
        *((f"{m.cost.client_latency_ms:.3g}",) if subject.has_latency else ()),
        subject.accuracy(m.utility),
        f"{record.bound_sign('leakage')}{subject.accuracy(m.leakage)}",
        "–" if m.leakage_bound is None else f"{m.leakage_bound:.1f}",
        f"{record.bound_sign('delta')}{subject.delta(record)}",
        certain,
    ]


def client(record: TrialRecord) -> str:
    method = "" if record.config.method == "narl" else f"{record.config.method}, "
    return f"{escaped(f'{method}{record.config.client}')} ({record.trial_id})"


def read(subject: Subject, record: TrialRecord) -> str:
    _, private = labels(subject)
    at_least = "at least " if record.leakage_is_lower_bound else ""
    return (
        f"The strongest attacker tried reads {private} for {at_least}{subject.accuracy(record.measured.leakage)} %, "
        f"where {record.measured.label_floor:.1f} % follow from the useful label alone."
    )


def certificate(bound: float | None) -> str:
    if bound is None:
        return "There is no proven limit: no formula was among the attackers."
    if bound >= 100:
        return "There is no proven limit: the noise is too weak for one, or there is none."
    return (
        f"Nobody who has an answer and nothing else, however clever, reads more than {bound:.1f} % of these "
        "images: that is proven, not tried."
    )


def limit(bound: float | None) -> str:
    if bound is None:
        return ""
    return "no limit" if bound >= 100 else f"{bound:.1f} % of these images"


def rests_on(subject: Subject) -> str:
    images = subject.num_images
    if images is None:
        return "How many validation images these percentages rest on was not recorded."
    return (
        f"Percentages are of {images} validation images; ± is half the 95 % interval for other images like these, and "
        "that of Δ takes its two accuracies as independent."
    )


def bounds(subject: Subject) -> str:
    demands = subject.demands
    units = {cost: f" {unit} {counted}" for cost, (unit, counted) in _COSTS.items()}
    units |= {"leakage": " % read by the attacker", "identification": " % of answers told apart among 100 images"}
    asked = [f"at most {bound:g}{units[name]}" for name, bound in demands.at_most.items()]
    return ", ".join([*asked, *(f"at least {bound:g} % {name}" for name, bound in demands.at_least.items())])


def within(subject: Subject) -> str:
    asked = bounds(subject)
    return f" with {asked}" if asked else ""


def goal(subject: Subject) -> str:
    return "Δ that is certain" if subject.demands.certified else "Δ"


def unit(subject: Subject) -> str:
    """Give the unit of the search's own cost."""
    return _COSTS[subject.cost][0]


def more(subject: Subject, chosen: TrialRecord) -> str:
    """Say what one GFLOP more, or one unit of whatever else the search counts, would buy."""
    step, units = one_unit_more(subject, chosen), unit(subject)
    one = f"One more {'GFLOP' if units == 'GFLOPs' else units} {_COSTS[subject.cost][1]}"
    dearest = max(record.measured.value(subject.cost) for record in subject.finished)
    if step is None:
        others = {*subject.demands.at_most, *subject.demands.at_least} - {subject.cost}
        return (
            f"**{one} would buy nothing** that this search has found: no client with up to "
            f"{chosen.measured.value(subject.cost) + 1:.4g} {units}{' and within the other bounds' if others else ''} "
            f"has a higher {goal(subject)}. The dearest tried takes {dearest:.4g} {units}."
        )
    return (
        f"**{one} would buy {gained(step)} points of {goal(subject)}:** {client(step.record)} takes "
        f"{step.cost:.3g} {units} more. The dearest client tried takes {dearest:.4g} {units}."
        f"{'' if certain(step) == 'yes' else ' The gain is within its ±: it may be luck.'}"
    )


def gained(step: Step) -> str:
    return known_to(step.gain, step.known_to)


def certain(step: Step) -> str:
    if step.known_to is None:
        return "not known"
    return "yes" if step.gain > step.known_to else "perhaps not"


def allowed(private: str) -> str:
    """Say what the attacker knows."""
    return (
        f"The attacker has the client, all its weights and the strength of its noise, and the training images with the "
        f"true {private}. The attacker does not have the picture, the noise that was drawn, or any other message."
    )


def attackers(names: Iterable[str]) -> str:
    """List how each adversary goes about it."""
    return bullets(_ATTACKERS.get(name, escaped(name)) for name in names)


def class_table(name: str, by_class: Mapping[str, Mapping[str, int]]) -> str:
    """Write how many images of each class each split has; of many classes the first."""
    shown = list(by_class.items())[:CLASSES_SHOWN]
    rows = [[escaped(value), *(f"{by_split.get(split, 0)}" for split in SPLITS)] for value, by_split in shown]
    if more := len(by_class) - len(shown):
        rest = list(by_class.values())[CLASSES_SHOWN:]
        rows.append([f"{more} more", *(f"{sum(each.get(split, 0) for each in rest)}" for split in SPLITS)])
    totals = [sum(each.get(split, 0) for each in by_class.values()) for split in SPLITS]
    rows.append(["**all images**", *(f"**{total}**" for total in totals)])
    return table([name, *SPLITS], rows)


def answers(queries: Sequence[int]) -> str:
    if not queries:
        return "one answer to each picture"
    return f"one answer to each picture, and also the mean of {', '.join(map(str, queries))}"
