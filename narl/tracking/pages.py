"""Addresses of MLflow's pages, and the set of columns that a search's list of trials opens with.

MLflow 3 opens in its GenAI mode unless the address says otherwise. A view of the list is a tag of the experiment: what
MLflow's own button to save a view writes (3.17; other versions open the list with their own columns).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

# Of a trial's run: `true` while the trial is on the front.
FRONT_TAG = "narl.front"
# What the address of a view names, and the beginning of the tag that holds it.
VIEW = "narl-trials"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
_TRAINING = "workflowType=machine_learning"
# The columns, to which a search adds its objectives.
_METRICS = ("delta", "utility", "leakage", "delta_certified", "client_gflops", "client_memory_mib")
_PARAMS = ("sigma", "lambda")


def run_page(server: str, experiment_id: str, run_id: str) -> str:
    """Address a run under model training.

    Args:
        server: `http://host:port/`; empty for an address within MLflow's pages.
    """
    return f"{server}#/experiments/{experiment_id}/runs/{run_id}?{_TRAINING}"


def figures_page(server: str, experiment_id: str, run_id: str) -> str:
    """Address the figures of a search, an artifact of its parent run."""
    return f"{server}#/experiments/{experiment_id}/runs/{run_id}/artifacts/front.html?{_TRAINING}"


def trials_page(server: str, experiment_id: str, *, with_view: bool) -> str:
    """Address the list of trials.

    Args:
        with_view: open it with the columns of `trials_view`, which the experiment must have: MLflow complains otherwise.
    """
    view = f"&viewStateShareKey={VIEW}" if with_view else ""
    return f"{server}#/experiments/{experiment_id}/runs?{_TRAINING}{view}"


def trials_view(objectives: Sequence[str], at: float) -> str:
    """Describe the list of trials: those on the front, the highest Δ first, with their objectives as columns.

    Args:
        at: when, in seconds since 1970.
    """
    metrics = tuple(dict.fromkeys((*_METRICS, *(name for name in objectives if "(" not in name))))
    columns = [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in _PARAMS)]
    name, created = "attributes.`Run Name`", "runDateAndNestInfo"  # which are always shown
    state = {
        "searchFilter": f"tags.`{FRONT_TAG}` = 'true'",
        "orderByKey": "metrics.`delta`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [name, created, *columns],
        "columnWidths": {name: 250, created: 130, **{column: 7 * len(column) for column in columns}},  # pixels
    }
    moment = round(1000 * at)
    return json.dumps({"name": "the front", "createdAt": moment, "updatedAt": moment, "state": json.dumps(state)})
