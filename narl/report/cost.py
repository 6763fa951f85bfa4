"""The report's last words: what the search cost, and the commands that repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from narl.core.markdown import bullets, commands, escaped, table
from narl.core.plural import counted
from narl.core.records import TrialRecord
from narl.report.subject import Subject


def cost(subject: Subject) -> Iterator[str]:
    failed = [record for record in subject.records if record.status == "failed"]
    stopped = sum(record.status == "stopped" for record in subject.records)
    seconds = sum(record.seconds for record in subject.records)
    rows = [
        ["trials that finished", f"{len(subject.finished)}"],
        *([["trials that were stopped, as they could not be worth considering", f"{stopped}"]] if stopped else []),
        ["trials that failed", f"{len(failed)}"],
        ["time in which some trial ran", duration(busy_seconds(subject.records))],
        ["time of all trials together", duration(seconds)],
    ]
    devices = Counter(device for r in subject.records if (device := r.tags.get("device_name") or r.tags.get("device")))
    if devices:
        rows.append(["devices", ", ".join(f"{escaped(name)} ({counted(n, 'trial')})" for name, n in devices.items())])
    for key, name, scale, unit in (
        ("gpu_seconds", "GPU time", 3600, "hours"),
        ("gpu_energy_joules", "energy of GPUs", 3.6e6, "kWh"),
    ):
        if any(key in record.telemetry for record in subject.records):
            total = sum(record.telemetry.get(key, 0.0) for record in subject.records) / scale
            rows.append([name, f"{total:.3g} {unit}"])
    yield table(["", ""], rows, numbers=False)
    if failed:
        reasons = Counter(record.error or "" for record in failed).most_common(3)
        yield "Why trials failed, commonest first:"
        yield bullets(f"{count} ×: {escaped(reason)}" for reason, count in reasons)


def reproduce(subject: Subject) -> Iterator[str]:
    options = "".join(f" {shlex.quote(option)}" for option in subject.options)
    name = shlex.quote(subject.name)
    space = subject.space
    yield (
        f"The search's folder holds all that it was given (`search_space.yaml`, seed {space.seed}, sampler "
        f"{space.sampler}) and every trial (`ledger.jsonl`). On a CPU a trial repeats exactly; the order of trials "
        "does only if they run one at a time."
    )
    yield commands(
        (
            f"narl search search_space.yaml --name {shlex.quote(f'{subject.name}-again')}",
            f"narl report {name}{options}",
            f"narl best-config --name {name}{options} > best.yaml",
            "narl train best.yaml --seeds 3 --out model      # on test images, which no choice has seen",
            "narl evaluate model                             # every attack, and the certificate",
            "narl export --from model --to client            # what a device runs",
        )
    )


def busy_seconds(records: Sequence[TrialRecord]) -> float:
    """Add up the time in which at least one trial ran."""
    total, until = 0.0, 0.0
    for start, end in sorted((record.started_at, record.finished_at) for record in records):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
