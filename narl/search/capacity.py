"""What one trial occupies, and how many trials that leaves room for: Ray's rules, node by node and GPU by GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from narl.config.search_space import RAY_UNITS, Resources, ray_units
from narl.core.errors import ConfigError

# Written by `ray up` on the head: the launcher file with the node types' resources filled in.
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")


@dataclass(frozen=True)
class TrialResources:
    """CPUs and GPUs of one trial, all its workers together.

    Attributes:
        gpus: 0, 1, a share of one, or one a worker.
        workers: that train it, each with an equal part, on one node or on several.
    """

    cpus: float
    gpus: float
    workers: int = 1

    @property
    def bundle(self) -> dict[str, float]:
        """What one worker has, in Ray's names."""
        parts = {"CPU": self.cpus / self.workers, "GPU": self.gpus / self.workers}
        return {name: amount for name, amount in parts.items() if amount}

    def fit_in(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """How many trials fit into nodes with these resources at once.

        A share of a GPU never straddles two: 0.65 leaves room for one trial a GPU, whatever two GPUs add up to.
        """
        return sum(map(self.workers_in, nodes)) // self.workers

    def workers_in(self, node: Mapping[str, float]) -> int:
        """How many workers fit into one node."""
        counts = []
        for name, amount in self.bundle.items():
            have, wanted = ray_units(node.get(name, 0)), ray_units(amount)
            if name == "GPU":
                counts.append(have // RAY_UNITS * (RAY_UNITS // wanted))
            else:
                counts.append(have // wanted)
        return min(counts)


def resolve(
    wanted: Resources, nodes: list[Mapping[str, float]], node_types: list[tuple[Mapping[str, float], int]]
) -> TrialResources:
    """Resolve `gpus_per_trial: null` in `wanted`: one GPU per worker if the cluster has or can get any, else none.

    Args:
        nodes: resources of each node that is alive.
        node_types: resources of each kind of node that may still come, and how many there can be.

    Raises:
        ConfigError: one trial needs more than the cluster has or can get.
    """
    possible = [*nodes, *(resources for resources, count in node_types for _ in range(min(count, 64)))]
    gpus, workers = wanted.gpus_per_trial, wanted.num_workers
    if gpus is None:
        gpus = float(workers) if any(node.get("GPU", 0) >= 1 for node in possible) else 0.0
    trial = TrialResources(wanted.cpus_per_trial, gpus, workers)
    if not trial.fit_in(possible):
        have = "; ".join(dict.fromkeys(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in possible))
        for_workers = f" for {workers} workers" if workers > 1 else ""
        raise ConfigError(
            f"a trial wants {trial.cpus:g} CPUs and {trial.gpus:g} GPUs{for_workers} (resources), "
            f"but the nodes have: {have}"
        )
    return trial


def node_types_to_come(bootstrap: Path = BOOTSTRAP) -> list[tuple[Mapping[str, float], int]]:
    """Read resources and largest number of each node type of the cluster that `ray up` made; empty on any other.

    Types whose resources the launcher does not know count as having none.
    """
    try:
        content = yaml.safe_load(bootstrap.expanduser().read_text(encoding="utf-8"))
        types, head, limit = content["available_node_types"], content["head_node_type"], content.get("max_workers", 2)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return []
    found: list[tuple[Mapping[str, float], int]] = []
    for name, kind in types.items():
        count = min(kind.get("max_workers", 0 if name == head else limit), limit)
        if count > 0:
            found.append(({k: float(v) for k, v in kind.get("resources", {}).items() if _is_number(v)}, count))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
