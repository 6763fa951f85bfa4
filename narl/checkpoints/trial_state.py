"""How far a trial has come, and the checkpoint from which it can continue elsewhere.

During training it continues with the next epoch. After training, the frozen client is kept, and each attacking network
that has finished: what a network reads depends only on the client, the seed and its own name, so that the others'
    numbers
stay the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor, nn

import narl
from narl.attacks.scores import Scores
from narl.attacks.target import Reading
from narl.checkpoints.method_state import restore, settings_of, tensors_of
from narl.checkpoints.snapshot import Header, Identity, KeptReading, Snapshot, below, this_torch
from narl.checkpoints.store import Checkpoints
from narl.checkpoints.team import TeamCheckpoints
from narl.config.trial import TrainConfig
from narl.core.errors import TrialLost
from narl.core.hashing import stable_hash
from narl.core.records import SigmaLevel
from narl.data.dataset import Dataset
from narl.data.identity import identity
from narl.methods.base import Method

T = TypeVar("T")


@dataclass
class TrialState:
    """One trial, from `begin` to the end of `until_ended`.

    Attributes:
        checkpoints: None if nothing is kept.
        report_on: the split that is reported.
        dataset: what the trial trains on; its identity is the checkpoint's.
        curves: losses of each epoch of training.
        epochs_done: of training.
        batch_parts: how many parts a batch of training was split into, for GPU memory.
        is_trained: the client is as it will be attacked.
        train_seconds: of a trained client, those before interruptions among them.
        earlier_attack_seconds: spent before an interruption on readings that are kept.
        resumed: how often the trial has resumed from a checkpoint.
        workers: that train the trial together.
        sigma_profile: of the trained client; None until it is made.
    """

    config: TrainConfig
    report_on: str
    dataset: Dataset
    checkpoints: Checkpoints | TeamCheckpoints | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    epochs_done: int = 0
    batch_parts: int = 1
    is_trained: bool = False
    train_seconds: float = 0.0
    earlier_attack_seconds: float = 0.0
    resumed: int = 0
    workers: int = 1
    sigma_profile: tuple[SigmaLevel, ...] | None = None

    def __post_init__(self) -> None:
        self._phase_began = time.monotonic()
        self._trained: dict[str, nn.Module] = {}
        self._unsaved = False
        self._readings: dict[str, tuple[KeptReading, Mapping[str, Tensor]]] = {}

    def begin(self, build: Callable[[], Method]) -> Method:
        """Return a method as it was when the checkpoint was taken; a new one without a usable checkpoint.

        Args:
            build: a new method, torch's global generators as a trial finds them.
        """
        method = build()
        if self.checkpoints is None:
            return method
        self._identity = identity_of(self.config, self.report_on, self.dataset, method, self.workers)
        snapshot = self.checkpoints.load(self._identity)
        if snapshot is None:
            return method
        try:
            self._go_on(method, snapshot)
        except Exception as error:  # of other code: what it has changed so far is thrown away
            self.checkpoints.ignore(f"it does not fit its configuration ({type(error).__name__})")
            return build()
        self._save(method)  # the next interruption is to know of this one
        return method

    def epoch_ended(self, method: Method) -> None:
        """Count one more epoch of training, whose losses are in `curves`."""
        self.epochs_done += 1
        self.batch_parts = method.accumulation.parts
        if self.checkpoints is not None and self.checkpoints.due:
            self._save(method)

    def trained(self, method: Method) -> None:
        """Note that training is over; what took long is kept at once."""
        is_news = self._unsaved = not self.is_trained
        self.train_seconds += self._phase_seconds()
        self.is_trained, self._trained, self._phase_began = True, _trained(method), time.monotonic()
        if is_news and self.checkpoints is not None and self.train_seconds >= self.checkpoints.every_seconds:
            self._save()

    def attacked(self, progress: T) -> T:
        """Note one more epoch of an attack; keep what has finished if the node may leave."""
        if self.checkpoints is not None and self._unsaved and self.checkpoints.urgent() and self.checkpoints.due:
            self._save()
        return progress

    def recall(self, name: str, network: nn.Module) -> Reading | None:
        """Return what the network `name` read before an interruption, and load its weights; None if it is not kept."""
        kept, tensors = self._readings.get(name, (None, {}))
        if kept is None:
            return None
        weights = below(tensors, "network")
        if _shapes(weights) != _shapes(network.state_dict()):
            assert self.checkpoints is not None
            self.checkpoints.ignore(f"what {name} read does not fit its configuration")
            return None
        network.load_state_dict(weights)
        scores = Scores(tensors["hits"], tensors["labels"])
        return Reading(scores, network.eval(), list(kept.curve), kept.converged, kept.batch_parts, kept.control)

    def keep(self, name: str, reading: Reading) -> None:
        """Keep the reading of an attacking network that has finished."""
        if self.checkpoints is None:
            return
        assert reading.network is not None
        weights = {f"network.{part}": tensor for part, tensor in reading.network.state_dict().items()}
        tensors = {"hits": reading.scores.hits, "labels": reading.scores.labels, **weights}
        kept = KeptReading(
            name=name,
            curve=reading.curve,
            converged=reading.converged,
            batch_parts=reading.batch_parts,
            control=reading.control,
        )
        self._readings[name] = kept, tensors
        self._unsaved = True
        if self.checkpoints.due:
            self._save()

    @contextmanager
    def until_ended(self) -> Iterator[None]:
        """Remove the checkpoint when the trial ends, also by a failure of its own; not when it is interrupted."""
        try:
            yield
        except (TrialLost, MemoryError):
            raise
        except Exception:
            self._end()
            raise
        self._end()

    def _end(self) -> None:
        self._trained = {}
        self._readings.clear()
        if self.checkpoints is not None:
            self.checkpoints.remove()

    def _go_on(self, method: Method, snapshot: Snapshot) -> None:
        header = snapshot.header
        if header.phase == "attack":
            for name, network in _trained(method).items():
                network.load_state_dict(snapshot.below(name))
        else:
            restore(method, snapshot.tensors, header.optimisers)
            method.accumulation.parts = header.batch_parts
        readings: dict[str, tuple[KeptReading, Mapping[str, Tensor]]] = {
            kept.name: (kept, snapshot.below(f"readings.{i}")) for i, kept in enumerate(header.readings)
        }
        self.curves, self.epochs_done = {name: list(curve) for name, curve in header.curves.items()}, header.epochs_done
        self.batch_parts = header.batch_parts
        self.is_trained, self._trained, self._readings = header.phase == "attack", _trained(method), readings
        self.train_seconds, self.earlier_attack_seconds = header.train_seconds, header.attack_seconds
        self.resumed, self.sigma_profile = header.resumed + 1, header.sigma_profile

    def _save(self, method: Method | None = None) -> None:
        """Write a checkpoint; `method` is needed while it trains."""
        assert self.checkpoints is not None
        learner = None if self.is_trained else method
        in_training = not self.is_trained
        tensors = {} if learner is None else tensors_of(learner)
        for name, network in ({} if in_training else self._trained).items():
            tensors |= _prefixed(name, network.state_dict())
        for i, (_, of_reading) in enumerate(self._readings.values()):
            tensors |= _prefixed(f"readings.{i}", of_reading)
        header = Header(
            identity=self._identity,
            phase="train" if in_training else "attack",
            epochs_done=self.epochs_done,
            batch_parts=self.batch_parts,
            curves=self.curves,
            train_seconds=self.train_seconds + (self._phase_seconds() if in_training else 0.0),
            attack_seconds=self.earlier_attack_seconds + (0.0 if in_training else self._phase_seconds()),
            resumed=self.resumed,
            optimisers=[] if learner is None else settings_of(learner),
            readings=[kept for kept, _ in self._readings.values()],
            sigma_profile=self.sigma_profile,
        )
        self.checkpoints.save(Snapshot.of(header, tensors))
        self._unsaved = False

    def _phase_seconds(self) -> float:
        return time.monotonic() - self._phase_began


def identity_of(config: TrainConfig, report_on: str, dataset: Dataset, method: Method, workers: int = 1) -> Identity:
    """Describe this trial, trained by `method` on `workers` workers, as its checkpoint does."""
    return Identity(
        narl=narl.__version__,
        torch=this_torch(),
        config=stable_hash(config.model_dump(mode="json", by_alias=True)),
        data=identity(dataset),
        reported_on=report_on,
        device=method.precision.device.type,
        precision=method.precision.name,
        workers=workers,
    )


def _trained(method: Method) -> dict[str, nn.Module]:
    """Collect the networks that attacks need of a method, by their names in a checkpoint."""
    return {"client": method.client} if method.task is None else {"client": method.client, "task": method.task}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
