"""What the parent run of a search says of it, where MLflow shows a run's description: Markdown, complete in itself.

MLflow shows the first four lines at once, and the rest to who asks for more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from narl.config.search_space import SearchSpace
from narl.core.errors import NothingFeasible
from narl.core.markdown import commands, escaped, table
from narl.core.objectives import objective
from narl.core.pareto import best_within, candidates, front_of
from narl.core.plural import counted
from narl.core.records import TrialRecord, nothing_of

DESCRIPTION_TAG = "mlflow.note.content"
# MLflow takes 8,000 characters, older servers 5,000: a front of more trials than this is cut.
MOST_SHOWN = 20
_ROOM = 3 * "\N{NO-BREAK SPACE}"


def question(space: SearchSpace) -> str:
    """Say what the search is about."""
    pipeline = space.pipeline
    utility, private, name = (escaped(n) for n in (pipeline.utility.name, pipeline.private.name, pipeline.name))
    size = pipeline.image.size
    return f"**Read {utility}, hide {private}** in pictures of {name}, {size} × {size} pixels."


def description(
    name: str,
    question: str,
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    *,
    page_of: Callable[[TrialRecord], str],
    figures: str,
) -> str:
    """Write question, choice, front and how to go on, whatever has finished so far.

    Args:
        name: of the search.
        question: Markdown of `question`, or empty.
        records: everything in the ledger.
        page_of: the address of a trial's run.
        figures: the address of front.html.
    """
    front = sorted(front_of(records, objectives), key=lambda r: -r.measured.delta)
    finished = counted(len(candidates(records, worthless=True)), "finished trial")
    parts = [
        f"{question} {finished}, {len(front)} on the front: [figures]({figures}).".strip(),
        _choice(records, page_of),
    ]
    if front:
        names = ", ".join(objective(name).label for name in objectives)
        parts += [f"**The front** of {names}:", _table(front[:MOST_SHOWN], page_of)]
    if len(front) > MOST_SHOWN:
        parts += [f"{len(front) - MOST_SHOWN} more of lower Δ are in `front.json`."]
    parts += [
        "Δ is utility less leakage, in points; accuracies are of validation images, costs of one image. Certain is what "
        "is left of Δ whoever reads.",
        "**How to go on**, and to reproduce it, where `narl-runs` is:",
        _commands(name),
    ]
    return "\n\n".join(parts)


def _choice(records: Sequence[TrialRecord], page_of: Callable[[TrialRecord], str]) -> str:
    try:
        chosen = best_within(records, at_most={})
    except NothingFeasible as error:
        reason = str(error).replace("`with_worthless`", "--with-worthless")
        return f"**Chosen.** Nothing yet: {escaped(reason)}."
    m = chosen.measured
    others = [] if m.delta_certified is None else [f"certain {m.delta_certified:.2f}"]
    if (nothing := nothing_of(records)) is not None:
        others.append(f"sending nothing {nothing.delta:.2f}")
    beside = f" ({', '.join(others)})" if others else ""
    return (
        f"**Chosen**, of all: {_linked(chosen, page_of)}, {escaped(chosen.config.numbers)}. "
        f"Δ {chosen.bound_sign('delta')}**{m.delta:.2f}**{beside} = utility {chosen.shown_utility} % − leakage "
        f"{chosen.bound_sign('leakage')}{m.leakage:.2f} %; {m.cost.client_gflops:.3g} GFLOPs, "
        f"{m.cost.client_memory_mib:.3g} MiB, {m.cost.uplink_kib:.3g} KiB sent."
    )


def _table(records: Sequence[TrialRecord], page_of: Callable[[TrialRecord], str]) -> str:
    heads = ["client (trial)", "Δ", "certain", "utility, %", "leakage, %", "GFLOPs", "MiB", "KiB sent"]
    # MLflow's tables leave no room between columns.
    rows = ([f"{cell}{_ROOM}" for cell in row] for row in (heads, *(_row(record, page_of) for record in records)))
    return table(next(rows), rows)


def _row(record: TrialRecord, page_of: Callable[[TrialRecord], str]) -> list[str]:
    m = record.measured
    return [
        _linked(record, page_of),
        f"{record.bound_sign('delta')}{m.delta:.2f}",
        "–" if m.delta_certified is None else f"{m.delta_certified:.2f}",
        record.shown_utility,
        f"{record.bound_sign('leakage')}{m.leakage:.2f}",
        *(f"{cost:.3g}" for cost in (m.cost.client_gflops, m.cost.client_memory_mib, m.cost.uplink_kib)),
    ]


def _linked(record: TrialRecord, page_of: Callable[[TrialRecord], str]) -> str:
    return f"[{escaped(record.config.client)} ({record.trial_id})]({page_of(record)})"


def _commands(name: str) -> str:
    quoted, again = shlex.quote(name), shlex.quote(f"{name}-again")
    return commands(
        (
            f"narl report {quoted}",
            f"narl best-config --name {quoted} > best.yaml",
            "narl train best.yaml --seeds 3 --out model",
            f"narl search narl-runs/{quoted}/search_space.yaml --name {again}",
        )
    )
