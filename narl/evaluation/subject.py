"""What is evaluated: a configuration to train, a trained client of it, or a client of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from narl.config.load import build, loaded
from narl.config.own_client import OwnClientConfig
from narl.config.pipeline import Pipeline
from narl.config.trial import AttackConfig, TrainConfig
from narl.core.errors import ConfigError
from narl.core.paths import resolved, user_path
from narl.data.dataset import Dataset
from narl.evaluation.evaluator import trained_client
from narl.evaluation.own_client import OwnClient, Server
from narl.export.bundle import Bundle, load_bundle
from narl.methods.catalogue import halves_of
from narl.methods.trained import Trained
from narl.models.noise.base import Noise
from narl.models.split import Obfuscator

_WHERE = "attack, adversaries, audit"

KINDS = ("bayes", "rest", "mlp", "conv")

What = TrainConfig | Bundle | nn.Module | Path | str


@dataclass(frozen=True)
class Subject:
    """Ready to be measured by an `Evaluator`.

    Attributes:
        name: in short.
        config: how it is attacked, and trained if it is not yet.
        trained: the client on the images that are given, on the device; None: it is trained with each seed.
    """

    name: str
    config: AttackConfig
    trained: Callable[[Dataset], Trained] | None


def subject_of(
    what: What,
    *,
    pipeline: Pipeline | Path | str | None = None,
    noise: Noise | float | None = None,
    server: Server | None = None,
    attack: Mapping[str, Any] | None = None,
    adversaries: Sequence[str] = KINDS,
    audit: Sequence[str] | None = None,
    data: str | None = None,
) -> Subject:
    """Prepare a subject; see `narl.evaluation.evaluate.evaluate`, which takes the same."""
    changes: dict[str, Any] = {**(attack or {}), "adversaries": tuple(adversaries)}
    if isinstance(what, Obfuscator) and noise is None:
        what, noise = what.body, cast(Noise, what.noise)
    if data is not None and not isinstance(what, Bundle | Path | str):
        raise ConfigError("`data` says where a bundle's images lie: leave it out")
    if isinstance(what, nn.Module):
        if pipeline is None or noise is None:
            raise ConfigError("a client of one's own needs pipeline= and noise= (a standard deviation; 0 adds none)")
        if server is None:
            changes["adversaries"] = tuple(kind for kind in changes["adversaries"] if kind != "rest")
        content = {"pipeline": loaded(Pipeline, pipeline), "attack": changes, "audit": tuple(audit or ())}
        own = OwnClient(what, noise, server)
        return Subject(type(what).__name__, build(OwnClientConfig, content, _WHERE), own.trained)
    if any(given is not None for given in (pipeline, noise, server)):
        raise ConfigError("pipeline, noise and server are for a client of one's own: leave them out")
    name, config, client = _configured(what, data)
    described = config.model_dump(by_alias=True)
    described["attack"] |= changes
    if audit is not None:
        described["audit"] = tuple(audit)
    config = build(TrainConfig, described, _WHERE)
    halves_of(config.trial, config.pipeline.image.size)  # refused before the images are opened
    return Subject(name, config, client and (lambda dataset: trained_client(config, client, dataset)))


def _configured(
    what: TrainConfig | Bundle | Path | str, data: str | None
) -> tuple[str, TrainConfig, Obfuscator | None]:
    """Name, configuration and trained client, if there is one."""
    if isinstance(what, Bundle):
        config = what.config.with_images_at(data).training_alone()
        return config.trial.client, config, copy.deepcopy(what.client)
    if isinstance(what, Path | str) and (path := user_path(what)).is_dir():
        bundle = load_bundle(path)
        return resolved(path).name, bundle.config.with_images_at(data).training_alone(), bundle.client
    if data is not None:
        raise ConfigError("`data` says where a bundle's images lie: leave it out")
    config = loaded(TrainConfig, what)
    return (config.trial.client if isinstance(what, TrainConfig) else Path(what).stem), config, None
