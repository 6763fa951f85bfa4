"""Arguments that several commands share, and values checked as they are parsed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from narl.core.errors import ConfigError, unknown_name
from narl.core.objectives import COST_NAMES
from narl.core.paths import user_path
from narl.storage.s3 import is_url

if TYPE_CHECKING:
    from narl.search.best import Demands


def positive_number(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"expected a finite number above 0, got {text!r}")
    return value


def percentage(text: str) -> float:
    """A number from 0 to 100."""
    value = _number(text, "a percentage")
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected 0 to 100, got {text!r}")
    return value


def confidence(text: str) -> float:
    """A number between 0.5 and 1, neither included."""
    value = _number(text)
    if not 0.5 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0.5 and 1, say 0.95; got {text!r}")
    return value


def share(text: str) -> float:
    """A number above 0 and at most 0.9."""
    value = _number(text)
    if not 0 < value <= 0.9:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 0.9, say 0.2; got {text!r}")
    return value


def _number(text: str, expected: str = "a number") -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None


def several(text: str) -> int:
    """A whole number above 1."""
    if (value := positive_int(text)) < 2:
        raise argparse.ArgumentTypeError(f"at least 2, as one says nothing about others; got {text!r}")
    return value


def positive_int(text: str) -> int:
    """A whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return value


def port_number(text: str) -> int:
    """A TCP port."""
    number = positive_int(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return number


def query_counts(text: str) -> tuple[float, ...]:
    """Whole numbers above 0 and `inf`, separated by commas, sorted; 1 is always among them."""
    counts = {math.inf if part.strip() == "inf" else float(positive_int(part.strip())) for part in text.split(",")}
    return tuple(sorted(counts | {1.0}))


def names_in(text: str) -> tuple[str, ...]:
    """What `text` names, separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def names_among(text: str, what: str, allowed: Iterable[str]) -> tuple[str, ...]:
    """The names in `text`, separated by commas; `what` says in messages what they name.

    Raises:
        ConfigError: none, or one that is not `allowed`.
    """
    allowed = tuple(allowed)
    names = names_in(text)
    for name in names:
        if name not in allowed:
            raise ConfigError(unknown_name(what, name, allowed))
    if not names:
        raise ConfigError(f"no {what} is named: allowed are {', '.join(allowed)}")
    return names


def non_negative_int(text: str) -> int:
    """A whole number, 0 included."""
    return 0 if text == "0" else positive_int(text)


# Of narl.attacks.catalogue, which takes seconds to import.
ATTACKS = ("leakage", "certificate", "sigma_profile", "averaging", "reconstruction", "inversion", "control")


def add_attacks(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Which attacks; None stands for all."""
    parser.add_argument("--attacks", default=default, help=f"some of {','.join(ATTACKS)} (default: {default or 'all'})")


def add_lpips(parser: argparse.ArgumentParser) -> None:
    """Where the backbone of one image metric comes from."""
    parser.add_argument(
        "--lpips",
        metavar="FILE|download",
        help="AlexNet's weights for LPIPS, as torchvision publishes them (default: if they are in torch's cache)",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Where the images of a bundle lie, which an export does not say."""
    parser.add_argument(
        "--data",
        metavar="DIR|CSV|s3://…",
        help="where the bundle's images lie: the folder, or the table's CSV file (an export does not say)",
    )


def folder_or_url(text: str) -> Path | str:
    """Take a path as it was written, for any host; an address stays as it is."""
    return text if is_url(text) else Path(text)


def local_path(text: str) -> Path:
    """Take a path and write out `~`, also where the shell did not: in `--runs=~/x`."""
    try:
        return user_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_search_choice(parser: argparse.ArgumentParser) -> None:
    """Which recorded search a question is about."""
    parser.add_argument("--name", help="name of the search (default: the one most recently written to)")
    add_runs(parser)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Where searches are read."""
    parser.add_argument(
        "--runs",
        type=folder_or_url,
        metavar="DIR|s3://BUCKET/PREFIX",
        help="folder of searches, or what narl search --storage was given (default: $NARL_RUNS or narl-runs)",
    )


def add_budgets(parser: argparse.ArgumentParser) -> None:
    """Bounds on what a client can afford and on what a service needs."""
    group = parser.add_argument_group("bounds")
    group.add_argument("--budget-gflops", type=positive_number, metavar="N", help="most client GFLOPs an image")
    group.add_argument("--budget-memory-mib", type=positive_number, metavar="N", help="most client memory, MiB")
    group.add_argument("--budget-uplink-kib", type=positive_number, metavar="N", help="most bytes sent an image, KiB")
    group.add_argument("--budget-activation-mib", type=positive_number, metavar="N", help="most peak activations, MiB")
    group.add_argument("--budget-latency-ms", type=positive_number, metavar="N", help="most milliseconds an answer")
    group.add_argument(
        "--measured", type=local_path, metavar="FILE", help="what clients took on a device: narl profile --measure"
    )
    group.add_argument("--min-utility", type=percentage, metavar="PCT", help="least utility accuracy, percent")
    group.add_argument("--max-leakage", type=percentage, metavar="PCT", help="most leakage accuracy, percent")
    group.add_argument(
        "--max-identification",
        type=percentage,
        metavar="PCT",
        help="most answers for which anybody can tell which of 100 images they are about, percent",
    )
    group.add_argument(
        "--certified", action="store_true", help="best is the Δ that holds against every reader, utility − bound"
    )
    add_worthless(group)


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Which of the clients within the bounds, if not that of the highest Δ."""
    group = parser.add_argument_group("choice")
    group.add_argument(
        "--confidence",
        type=confidence,
        metavar="P",
        help="best is what Δ exceeds with this probability over other images like these, 0.95 say; seeds and trainings "
        "are not covered",
    )
    group.add_argument(
        "--knee",
        nargs="?",
        const="client_gflops",
        choices=COST_NAMES,
        metavar="COST",
        help="not the highest Δ, but the knee of Δ over the logarithm of a cost, peak_activation_mib say (default: "
        "client_gflops)",
    )
    group.add_argument(
        "--confirmed",
        action="store_true",
        help="choose among clients that narl confirm trained with fresh seeds, for the lower bound of Δ on test images",
    )


def add_worthless(parser: argparse._ActionsContainer) -> None:
    """Whether clients count that are no better than one that sends nothing."""
    parser.add_argument(
        "--with-worthless",
        action="store_true",
        help="also count trials that are no better than sending nothing (utility is a guess, or Δ is no higher) or miss "
        "the constraints of their search",
    )


def demands(args: argparse.Namespace) -> Demands:
    """What `add_budgets` parsed, and `add_choice` where a command has it."""
    from narl.search.best import Demands

    return Demands(**{field.name: getattr(args, field.name) for field in fields(Demands) if field.name in args})
