"""One checkpoint for all the workers of a trial: rank 0 writes and reads it, the others go on from what it has read."""

from __future__ import annotations

import torch

from narl.checkpoints.snapshot import Identity, Snapshot
from narl.checkpoints.store import Checkpoints
from narl.training.team import Team


class TeamCheckpoints:
    """As `Checkpoints`, for one worker of a team.

    Args:
        kept: rank 0's are used.
        device: of the team's tensors.
    """

    def __init__(self, kept: Checkpoints, team: Team, device: torch.device) -> None:
        self._kept, self._team, self._device = kept, team, device
        self._is_first = team.rank == 0

    @property
    def every_seconds(self) -> float:
        return self._kept.every_seconds

    @property
    def due(self) -> bool:
        return self._is_first and self._kept.due

    def urgent(self) -> bool:
        return self._is_first and self._kept.urgent()

    def load(self, identity: Identity) -> Snapshot | None:
        """Load rank 0's checkpoint of this very trial on every worker; all call it.

        Raises:
            WorkerLost: rank 0 is gone.
        """
        snapshot = self._kept.load(identity) if self._is_first else None
        content = b"" if snapshot is None else snapshot.encode()
        size = torch.tensor([len(content)], device=self._device)
        self._team.follow_([size])
        if not int(size):
            return None
        everyones = torch.zeros(int(size), dtype=torch.uint8, device=self._device)
        if self._is_first:
            everyones.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self._team.follow_([everyones])
        return snapshot or Snapshot.decode(everyones.cpu().numpy().tobytes())

    def ignore(self, reason: object) -> None:
        if self._is_first:
            self._kept.ignore(reason)

    def save(self, snapshot: Snapshot) -> None:
        if self._is_first:
            self._kept.save(snapshot)

    def remove(self) -> None:
        if self._is_first:
            self._kept.remove()
