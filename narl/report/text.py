"""The report in words, as Markdown: for the person who decides, so every number has its unit and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator

from narl.core.markdown import bullets, document, escaped, table
from narl.core.method_options import METHODS
from narl.core.objectives import objective
from narl.core.plural import are, counted
from narl.core.records import TrialRecord
from narl.evaluation.intervals import known_to
from narl.report.confirmed import confirmed
from narl.report.cost import cost, reproduce
from narl.report.gains import steps
from narl.report.noise import other_noise
from narl.report.subject import Subject
from narl.report.words import (
    allowed,
    answers,
    attackers,
    bounds,
    certain,
    certificate,
    class_table,
    client,
    gained,
    goal,
    labels,
    limit,
    more,
    read,
    refusal,
    rests_on,
    row,
    unit,
    within,
)
from narl.search.best import BUDGETS

# Of the front; beside the Markdown, and drawn in its place on the page.
FIGURE = "front.png"
# Wider than this, in points, an accuracy decides little.
WIDE = 5.0


def report_text(subject: Subject) -> str:
    """Write the whole report."""
    sections = (
        ("", _summary),
        ("The question", _question),
        ("What is given away without any answer", _without_answers),
        ("The clients worth considering", _front),
        ("Whether they hold", confirmed),
        ("The choice, and what a dearer one would buy", _choice),
        ("What more or less noise would do", other_noise),
        ("What the attacker was allowed", _attacker),
        ("Doubts", _doubts),
        ("What the search cost", cost),
        ("How to reproduce this", reproduce),
    )
    title = f"Report on the search {escaped(subject.name)}"
    return document(title, {head: write(subject) for head, write in sections})


def _summary(subject: Subject) -> Iterator[str]:
    utility, private = labels(subject)
    yield (
        "A device runs a small part of a network, adds noise and sends the result, the *answer*, instead of the "
        f"picture. A service reads {utility} from it; {private} should stay hidden. This report is about how well that "
        "works, and at what cost to the device."
    )
    chosen = subject.chosen
    if not isinstance(chosen, TrialRecord):
        yield f"**There is no client to recommend:** {refusal(chosen)}."
        return
    m = chosen.measured
    yield (
        f"**{escaped(chosen.config.client)} is the best of {len(subject.finished)} configurations tried"
        f"{within(subject)}.** From its answers the service reads {utility} for {subject.accuracy(m.utility)} % of the "
        f"images. {read(subject, chosen)} {certificate(m.leakage_bound)}"
    )
    nothing = subject.nothing
    instead = "" if nothing is None else f"; sending nothing would give {nothing.delta:.1f}"
    time = f"{m.cost.client_latency_ms:.3g} ms an answer, " if subject.has_latency else ""
    yield (
        f"The difference, Δ, is {chosen.bound_sign('delta')}{subject.delta(chosen)} points{instead}. On the device it "
        f"takes {time}{m.cost.client_gflops:.3g} GFLOPs an image and {m.cost.client_memory_mib:.3g} MiB of memory, and it "
        f"sends {m.cost.uplink_kib:.3g} KiB an image. {rests_on(subject)}"
    )


def _question(subject: Subject) -> Iterator[str]:
    pipeline = subject.space.pipeline
    size = pipeline.image.size
    utility, private = labels(subject)
    yield (
        f"Pictures: {escaped(pipeline.name)} (source: {pipeline.source.kind.replace('_', ' ')}), {size} × {size} "
        f"pixels. Useful label: {utility}. Private label: {private}."
    )
    if subject.classes is None:
        yield "How many images there are of each class was not recorded: the search is of an earlier version."
        return
    for label, name in (("utility", f"Useful: {utility}"), ("private", f"Private: {private}")):
        yield class_table(name, subject.classes[label])
    yield (
        "Networks learn from training images. Validation images measure and choose; every accuracy below is of these. "
        "Test images were not looked at: they are for the last word, `narl evaluate`."
    )


def _without_answers(subject: Subject) -> Iterator[str]:
    utility, private = labels(subject)
    floor = subject.finished[0].measured.label_floor
    yield (
        f"Whoever is told the true {utility}, and nothing else, names {private} right for **{floor:.1f} %** of the "
        f"validation images (the *label floor*): the two labels go together that far. Somebody who knows {utility} "
        f"reads that much, whatever a client does, so Δ cannot be above {100 - floor:.1f} points."
    )
    nothing = subject.nothing
    if nothing is None:
        yield "What a client that sends nothing would give was not recorded: the search is of an earlier version."
        return
    yield (
        f"**Sending nothing** lets the service name the commonest class of {utility}, right for {nothing.utility:.1f} "
        f"%, and an attacker that of {private}, {nothing.leakage:.1f} %. The difference is {nothing.delta:.1f} points. "
        "A client has to do better than that to be worth running."
    )


def _front(subject: Subject) -> Iterator[str]:
    utility, private = labels(subject)
    worthless = sum(bool(record.measured.why_worthless) for record in subject.finished)
    unmet = sum(bool(record.why_not_counted) for record in subject.finished) - worthless
    left_out = f"{worthless} {are(worthless)} no better than sending nothing; " if worthless else ""
    left_out += f"{unmet} {'misses' if unmet == 1 else 'miss'} what the search asks for; " if unmet else ""
    yield (
        f"Of {counted(len(subject.finished), 'configuration')} that were trained and attacked, {left_out}"
        f"{len(subject.front)} cannot be improved in one respect without loss in another (the *front* of "
        f"{', '.join(objective(name).label for name in subject.space.objectives)}). Δ is the useful accuracy less what "
        "the attacker reads: the higher, the better."
    )
    if not subject.front:
        return
    yield f"![Δ of each client against what it costs]({FIGURE})"
    yield (
        "Each point is a configuration; a rim means worth considering, hollow no better than sending nothing. Dotted: "
        "the Δ of sending nothing. Dashed: the Δ that none exceeds."
    )
    rows = [row(subject, record) for record in subject.front]
    if (nothing := subject.nothing) is not None:
        read = [f"{nothing.utility:.1f}", f"{nothing.leakage:.1f}", "", f"{nothing.delta:.1f}", ""]
        rows.append(["*send nothing*", "0", "0", "0", *(("0",) if subject.has_latency else ()), *read])
    heads = [
        *("client / split (trial)", "GFLOPs", "memory, MiB", "sent, KiB", *(("ms",) if subject.has_latency else ())),
        *("useful, %", "attacker reads, %", "nobody above, %", "Δ, points", "Δ certain, points"),
    ]
    yield table(heads, rows)
    meaning = (
        "GFLOPs: billions of operations for one picture, on the device. "
        f"{'ms: how long that took on the device that was measured. ' if subject.has_latency else ''}"
        "Useful: how often the service reads "
        f"{utility}. Attacker reads: how often the strongest attacker tried reads {private}. "
    )
    if any(record.measured.leakage_bound is not None for record in subject.front):
        meaning += (
            "Nobody above: a proven limit, for these images, of anybody who has one answer and nothing else, whatever "
            "they compute; Δ certain subtracts this limit. "
        )
    if any(record.leakage_is_lower_bound for record in subject.front):
        meaning += "≥ and ≤: somebody may read more than was read (see Doubts). "
    yield meaning + rests_on(subject)


def _choice(subject: Subject) -> Iterator[str]:
    chosen = subject.chosen
    if asked := bounds(subject):
        yield f"Asked for: {asked}; and of what fits, the highest {goal(subject)}."
    else:
        option = f"--{BUDGETS[subject.cost].replace('_', '-')}"
        yield (
            f"No budget was given, so the choice is the highest {goal(subject)} of all. `narl report {option} …` (and the "
            "other bounds of `narl best-config`) choose within what a device can afford."
        )
    if not isinstance(chosen, TrialRecord):
        yield f"There is none: {refusal(chosen)}."
    else:
        m, point = chosen.measured, chosen.config
        settings = {
            "client": f"{escaped(point.client)}, method {escaped(point.method)}",
            "trial": f"{chosen.trial_id}",
            "runs on the device": escaped(METHODS[point.method].client) if point.method in METHODS else "",
            "σ of the noise": f"{point.sigma:.4g} in training"
            + ("" if chosen.sigma_at_inference is None else f", {chosen.sigma_at_inference:.4g} in use"),
            "λ, weight of hiding": f"{point.lambda_:.4g}",
            **{escaped(name): f"{value:.4g}" for name, value in point.settings.items()},
            "computing": f"{m.cost.client_gflops:.4g} GFLOPs an image",
            "memory": f"{m.cost.client_memory_mib:.4g} MiB, and {m.cost.peak_activation_mib:.4g} MiB while it runs",
            "sent": f"{m.cost.uplink_kib:.4g} KiB an image",
            "latency": f"{m.cost.client_latency_ms:.4g} ms an answer" if subject.has_latency else "",
            "useful": f"{subject.accuracy(m.utility)} %",
            "attacker reads": f"{chosen.bound_sign('leakage')}{subject.accuracy(m.leakage)} %",
            "nobody above": limit(m.leakage_bound),
            "Δ": f"{chosen.bound_sign('delta')}{subject.delta(chosen)} points",
        }
        yield table(["chosen", ""], [[name, value] for name, value in settings.items() if value], numbers=False)
        yield more(subject, chosen)
    bought = list(steps(subject))
    if bought:
        yield "Each step up, among the clients worth considering:"
        yield table(
            ["to", f"{unit(subject)} more", f"{goal(subject)}, points more", "more than luck?"],
            [[client(s.record), f"{s.cost:.3g}", f"{gained(s)}", certain(s)] for s in bought],
        )


def _attacker(subject: Subject) -> Iterator[str]:
    attack = subject.space.trial_attack
    _, private = labels(subject)
    yield f"{allowed(private)} Tried, the strongest counts:"
    yield attackers(attack.adversaries)
    spared = sum(record.networks_were_spared for record in subject.finished)
    limits = [
        f"Networks train for at most {attack.max_epochs} epochs, each kind from {counted(attack.seeds, 'start')}.",
        f"The attacker sees {answers(attack.queries)}. If all read less than the label floor, the floor counts, unless "
        "the limit is lower.",
    ]
    if spared:
        limits.append(
            f"Networks did not attack {spared} of {len(subject.finished)} configurations, as these could not be worth "
            "considering any more."
        )
    yield " ".join(limits)
    yield (
        "Not tried here: reading labels other than these two, rebuilding pictures (no pictures are recorded by a "
        "search, so none are shown), and more answers to one picture. `narl evaluate` does all three, on test images."
    )


def _doubts(subject: Subject) -> Iterator[str]:
    found = [
        f"The clients were chosen by the same validation images that the numbers are of. The best of "
        f"{counted(len(subject.finished), 'configuration')} looks a little better there than it is; `narl train` "
        "reports on test images."
    ]
    if (images := subject.num_images) is None:
        found.append("How many images the accuracies rest on was not recorded.")
    elif known_to(images) > WIDE:
        found.append(
            f"{images} images tell an accuracy to ± {known_to(images):.0f} points at worst. More would decide more."
        )
    if len({record.config.seed for record in subject.finished}) <= 1:
        found.append("Each configuration was trained once: how much another start would change is not in the ±.")
    if any(record.measured.leakage_bound is not None for record in subject.finished):
        found.append(
            "The limits hold for the images that were measured and for noise that is drawn as stated. For images "
            "nobody has seen, `narl evaluate` gives a certificate with 95 % confidence."
        )
    else:
        found.append("No limit was computed: a stronger attacker than those tried may read more.")
    found += [escaped(doubt)[:1].upper() + escaped(doubt)[1:] + "." for doubt in subject.data_doubts]
    for record in subject.front:
        if record.doubts:
            found.append(f"Of {client(record)}: more may leak than was read, as {escaped(record.doubts)}.")
        if doubt := record.tags.get("utility_doubts"):
            found.append(f"Of {client(record)}: the useful accuracy may be too low, as {escaped(doubt)}.")
    yield bullets(found)
