"""How a trained client would do with other noise: utility, leakage and its bound, and the bracket of Δ, over σ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from narl.core.records import SigmaLevel
from narl.figures.canvas import new_figure, write_png
from narl.figures.palette import PALETTE, RIM


def sigma_profile_png(
    profile: Sequence[SigmaLevel],
    title: str,
    path: Path | str,
    *,
    trained: float,
    used: float,
    label_floor: float,
    nothing: float | None,
    reported_on: str,
) -> None:
    """Draw above what is read at each σ, below Δ by what is read and by the bound; σ of training and of use are marked.

    Args:
        profile: ascending by σ, at least one level.
        trained, used: σ of training and of the client that was attacked.
        label_floor: percent.
        nothing: Δ of a client that sends nothing, if it is known.
        reported_on: the split.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = new_figure(8, 7)
    above, below = figure.subplots(2, 1, sharex=True)
    sigmas, utility, leakage, bound = zip(*profile, strict=True)
    blue, orange, green = PALETTE[:3]

    above.plot(sigmas, utility, color=blue, marker="o", markersize=4, label="utility")
    above.fill_between(sigmas, leakage, bound, color=orange, alpha=0.3, linewidth=0, label="leakage: read – bound")
    above.plot(sigmas, leakage, color=orange, marker="s", markersize=4)
    above.axhline(label_floor, color=RIM, linestyle="--", linewidth=1, label="label floor")
    above.set_ylabel(f"accuracy in closed form, % of {reported_on} images")
    above.set_ylim(0, 100)

    highest, lowest = [level.delta for level in profile], [level.delta_certified for level in profile]
    below.fill_between(sigmas, lowest, highest, color=green, alpha=0.3, linewidth=0, label="Δ: certified – read")
    below.plot(sigmas, highest, color=green, marker="^", markersize=4)
    if nothing is not None:
        below.axhline(nothing, color=RIM, linestyle="-.", linewidth=1, label="send nothing")
    below.set_ylabel("Δ, percentage points")
    below.set_xlabel("σ at inference, units of z")
    below.set_xscale("log")
    below.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    below.xaxis.set_minor_formatter(NullFormatter())
    below.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axes in (above, below):
        axes.axvline(trained, color=RIM, linestyle=":", linewidth=1.2, label=f"trained, σ {trained:.3g}")
        if used != trained:
            axes.axvline(used, color=RIM, linewidth=1.2, label=f"used, σ {used:.3g}")
        axes.legend(frameon=False, fontsize=9)
        axes.grid(True, color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)
    above.set_title(title)
    write_png(figure, path)
