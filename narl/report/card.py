"""The model card of an export, MODEL_CARD.md: what is protected, against whom, how well, and what that rests on.

For whoever deploys the client or answers for it, in the words of the report on a search. It says nothing that the
bundle's other files do not: made of `config.yaml`, `metrics.json` and the manifest, it is the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narl.config.bundle import BundleConfig
from narl.config.load import build, read_yaml
from narl.core.chance import wilson_interval
from narl.core.errors import DataError
from narl.core.markdown import bullets, document, escaped, table
from narl.core.method_options import METHODS
from narl.core.worth import why_worthless
from narl.evaluation.report import SeedReport, Summary
from narl.evaluation.variant_report import recorded_variants
from narl.export.bundle import CARD, CONFIG, METRICS, verify_bundle
from narl.export.manifest import write_manifest
from narl.report.subject import known_to
from narl.report.words import allowed, answers, attackers, certificate, class_table, limit


@dataclass(frozen=True)
class _Card:
    """What a card is made of.

    Attributes:
        summary, seed: over all seeds that were measured, and of the client itself; None if that cannot be read.
    """

    config: BundleConfig
    manifest: dict[str, Any]
    summary: Summary | None
    seed: SeedReport | None

    @property
    def labels(self) -> tuple[str, str]:
        pipeline = self.config.pipeline
        return f"“{escaped(pipeline.utility.name)}”", f"“{escaped(pipeline.private.name)}”"


def add_card(folder: Path) -> None:
    """Write the card of the bundle in `folder`, and list it in the manifest.

    Raises:
        NarlError: a damaged bundle.
    """
    manifest = verify_bundle(folder)
    config = build(BundleConfig, read_yaml(folder / CONFIG), str(folder / CONFIG))
    try:
        summary = Summary.load(folder / METRICS)
    except DataError:
        summary = None
    seed = None if summary is None else summary.by_seed.get(config.seed)
    (folder / CARD).write_text(_text(_Card(config, manifest, summary, seed)), encoding="utf-8")
    about = {name: value for name, value in manifest.items() if name != "files"}
    write_manifest(folder, about, dict.fromkeys([*manifest["files"], CARD]))


def _text(card: _Card) -> str:
    sections = (
        ("", _summary),
        ("What is protected, and against whom", _protected),
        ("The certificate", _certificate),
        ("How many answers", _answers),
        ("Data", _data),
        ("How it was made", _made),
        ("Limits", _limits),
    )
    title = f"Model card: {escaped(card.config.pipeline.name)}, {escaped(card.config.trial.client)}"
    return document(title, {head: write(card) for head, write in sections})


def _summary(card: _Card) -> Iterator[str]:
    utility, private = card.labels
    yield (
        "A device runs a small part of a network, adds noise and sends the result, the *answer*, instead of the "
        f"picture. A service reads {utility} from it; {private} should stay hidden. README.md says how to run both."
    )
    m, summary = card.seed, card.summary
    if m is None or summary is None:
        yield "**What was measured of this client was not recorded**, so nothing is known of how well that works."
        return
    if reason := why_worthless(m):
        yield f"**This client is no better than one that sends nothing:** {escaped(reason)}."
    doubted = "≥ " if m.doubts else ""
    rows = [
        [f"the service reads {utility}", f"{_known(m.utility, m)} %"],
        [f"the strongest attacker tried reads {private}", f"{doubted}{_known(m.leakage, m)} %"],
        ["that much follows from the useful label alone (label floor)", f"{m.label_floor:.1f} %"],
        ["nobody reads more (see the certificate)", limit(m.leakage_bound) or "not known"],
        ["the difference, Δ", f"{'≤ ' if m.doubts else ''}{m.delta:.1f} points"],
    ]
    if (nothing := summary.nothing) is not None:
        rows.append(["Δ of a client that sends nothing", f"{nothing.delta:.1f} points"])
    yield table([f"on {m.num_samples} {summary.reported_on} images", ""], rows)
    yield "± is half the 95 % interval for other images like these." + (
        f" {private} was attacked on {len(summary.seeds)} clients that were trained so, of which this is one; over all, "
        f"Δ is {summary.mean['delta']:.1f} points."
        if len(summary.seeds) > 1
        else ""
    )


def _protected(card: _Card) -> Iterator[str]:
    utility, private = card.labels
    yield f"{private} is protected, and nothing else was meant to be. {allowed(private)} These attacked:"
    yield attackers(card.config.attack.adversaries)
    yield (
        f"Who knows {utility} by other means can name {private} as often as the label floor says, whatever the client "
        "does. Not protected: that an answer was sent, when, and by whom; and whatever may be known from elsewhere."
    )


def _certificate(card: _Card) -> Iterator[str]:
    if card.seed is None:
        yield "None was recorded."
        return
    yield certificate(card.seed.leakage_bound)
    if (bound := card.seed.leakage_bound) is not None and bound < 100:
        yield (
            "It holds for those images, for one answer to each, and for noise that is drawn as stated: `narl verify` "
            "tests the latter. It is no differential privacy. `narl evaluate` gives a certificate for images that "
            "nobody has seen, with 95 % confidence."
        )


def _answers(card: _Card) -> Iterator[str]:
    if card.seed is not None and card.seed.snr_db is None:
        yield "The client adds no random noise: all answers to one picture are the same."
    elif card.config.trial.noise == "keyed":
        yield (
            "One picture always gets the same noise, as long as the key is kept, so asking again tells nothing new. "
            "Pictures that are nearly the same get other noise each, and their answers can be averaged."
        )
    else:
        yield (
            "Each answer to the same picture tells more, as noise averages out: let a device answer once about a "
            "picture, and keep the answer if it is needed again."
        )
    yield f"Attackers had {answers(card.config.attack.queries)}."
    found = {} if card.summary is None else card.summary.findings
    leakage, delta = found.get("leakage_at_queries"), found.get("delta_at_queries")
    if isinstance(leakage, dict) and isinstance(delta, dict) and leakage.keys() == delta.keys():
        yield table(
            ["answers averaged (mean over seeds)", *map(escaped, leakage)],
            [
                ["attacker reads, %", *(f"{value:.1f}" for value in leakage.values())],
                ["Δ, points", *(f"{value:.1f}" for value in delta.values())],
            ],
        )
    else:
        yield "What more answers give away was not measured; `narl evaluate` does."


def _data(card: _Card) -> Iterator[str]:
    pipeline, (utility, private) = card.config.pipeline, card.labels
    size = pipeline.image.size
    yield (
        f"Pictures: {escaped(pipeline.name)} (source: {pipeline.source.kind.replace('_', ' ')}), {size} × {size} "
        f"pixels. Networks learnt from training images; validation images chose; the numbers above are of "
        f"{'images' if card.summary is None else card.summary.reported_on + ' images'}."
    )
    classes = (None if card.summary is None else card.summary.classes) or {}
    for label, name in (("utility", f"Useful: {utility}"), ("private", f"Private: {private}")):
        if label in classes:
            yield class_table(name, classes[label])
    if card.config.redacted:
        yield f"The classes of {private} are not named in this export."
    elif not classes:
        yield "How many images there are of each class was not recorded."


def _made(card: _Card) -> Iterator[str]:
    config, point, cost = card.config, card.config.trial, None if card.seed is None else card.seed.cost
    method = METHODS[point.method]
    rows = {
        "method": escaped(point.method),
        "runs on the device": f"{escaped(method.client)} ({escaped(point.client)})",
        "σ of the noise": f"{point.sigma:.4g} in training"
        + (f", {point.sigma_inference:.4g} in use" if isinstance(point.sigma_inference, float) else "")
        if method.uses_sigma
        else "",
        "λ, weight of hiding": f"{point.lambda_:.4g}" if method.uses_lambda else "",
        **{escaped(name): f"{value:.4g}" for name, value in point.settings.items()},
        "training": f"{config.training.epochs} epochs, seed {config.seed}",
        "computing": "" if cost is None else f"{cost.client_gflops:.4g} GFLOPs an image",
        "memory": "" if cost is None else f"{cost.client_memory_mib:.4g} MiB",
        "sent": "" if cost is None else f"{cost.uplink_kib:.4g} KiB an image",
        "made": escaped(f"{card.manifest.get('created', '?')}, narl {card.manifest.get('narl_version', '?')}"),
    }
    yield table(["", ""], [[name, value] for name, value in rows.items() if value], numbers=False)
    if variants := recorded_variants(card.manifest, "the bundle"):
        yield (
            "Smaller clients, each measured by its own answers. Networks did not attack them again, so Δ is against the "
            "formula, or the label floor if that is higher; Δ certain subtracts the limit:"
        )
        yield table(
            [
                *("client", "useful, %", "the formula reads, %", "nobody above, %"),
                *("Δ, points", "Δ certain, points", "KiB"),
            ],
            [
                [
                    *(name, f"{row.utility:.1f}", f"{row.closed_form_leakage:.1f}", f"{row.leakage_bound:.1f}"),
                    *(row.shown_delta, row.shown_certified, f"{row.size / 1024:.0f}"),
                ]
                for name, row in variants.items()
            ],
        )


def _limits(card: _Card) -> Iterator[str]:
    found = [f"Of this client: {escaped(doubt)}." for doubt in (() if card.seed is None else card.seed.doubts)]
    found += [
        "A stronger attacker may read more than was read, up to what nobody exceeds.",
        "Pictures of another kind than those it was measured on (other cameras, other people, other light) may give "
        "away more, or be read less well.",
        "Labels other than these two, and whether pictures can be rebuilt, are not in these numbers: "
        "`narl evaluate --audit COLUMN` and its attack `reconstruction` measure both.",
        "The manifest's SHA-256 tell that files are whole, not who made them: `narl verify --public-key` does, of an export "
        "that was signed.",
    ]
    yield bullets(found)


def _known(percent: float, m: SeedReport) -> str:
    low, high = wilson_interval(percent, m.num_samples)
    return known_to(percent, (high - low) / 2)
