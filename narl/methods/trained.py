"""What training hands over to attacks: a frozen client, and what is known of how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from narl.methods.halves import AttackedHalves
from narl.models.split import Obfuscator
from narl.training.precision import Precision


@dataclass(frozen=True)
class Trained:
    """A client that is ready to be attacked, and what its training leaves.

    Attributes:
        halves: what attacks ask about it.
        seconds: of training; 0 for a client that was trained elsewhere.
        curves: losses by epoch.
        attack_seconds: spent on attacks before an interruption.
        tags: what is worth showing of the training.
        task: M2 as it was trained with the client; None where none was.
    """

    client: Obfuscator
    halves: AttackedHalves
    precision: Precision
    seconds: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=dict)
    attack_seconds: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    task: nn.Module | None = None
