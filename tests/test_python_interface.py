"""`import narl` in a notebook: light, complete, and the same to people, type checkers and Python."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import narl
from narl.core.errors import ConfigError, NothingFeasible
from narl.search.start import search

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "search_spaces" / "digits.yaml"


def printed_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_narl_imports_nothing_else_of_it_nor_of_others():
    heavy = {"torch", "ray", "mlflow", "pydantic", "numpy", "yaml", "optuna"}
    code = f"import narl, sys; print([m for m in sys.modules if m.startswith('narl.') or m in {heavy}])"
    assert printed_by(code) == "[]"


def test_every_name_is_there_is_listed_and_has_a_docstring():
    assert sorted(narl.__all__) == narl.__all__ and set(narl.__all__) < set(dir(narl))
    for name in narl.__all__:
        assert inspect.getdoc(getattr(narl, name)), name
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        narl.serach  # noqa: B018


def test_type_checkers_see_what_python_gives():
    (block,) = (node for node in ast.parse(inspect.getsource(narl)).body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(told) == narl.__all__
    for name, module in told.items():
        if name != "search":
            assert narl._HOMES[name] == module
            assert getattr(narl, name) is getattr(sys.modules[module], name)


def test_search_is_a_function_and_a_package_in_whatever_order_they_are_imported():
    assert inspect.signature(narl.search) == inspect.signature(search)
    asked = "try:\n    narl.search('absent.yaml')\nexcept narl.core.errors.ConfigError as error:\n    print(error)"
    for first in ("import narl", "import narl.search.folder as folder", "from narl import search"):
        assert "absent.yaml: no such file" in printed_by(f"{first}\nimport narl, narl.core.errors\n{asked}")


def test_a_search_is_refused_as_on_the_command_line():
    space = narl.SearchSpace.load(SPACE)
    for how, message in (
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"trials": 0}, "search 'digits': trials"),
        ({"retry_failed": True}, "`retry_failed` needs `resume`"),
        ({"runs": "s3://bucket/prefix"}, "a search runs in a folder"),
        ({"study": "nonsense"}, "nonsense"),
    ):
        with pytest.raises(ConfigError, match=message):
            narl.search(space, **how)
    with pytest.raises(ConfigError, match="expected a SearchSpace or the path of a YAML file, got int"):
        narl.search(7)


@pytest.fixture
def recorded(record, tmp_path):
    """A folder of one search with three trials."""
    from narl.search.folder import SearchFolder
    from narl.search.ledger import Ledger

    folder = SearchFolder(tmp_path / "runs" / "digits")
    folder.save_space(narl.SearchSpace.load(SPACE))
    ledger = Ledger(folder.ledger_path)
    for number, (gflops, utility, leakage) in enumerate([(0.001, 80, 60), (0.002, 90, 40), (0.003, 95, 30)]):
        ledger.append(record(number, gflops=gflops, utility=utility, leakage=leakage))
    return folder


def test_the_best_configuration_keeps_to_every_bound(recorded):
    for named in (recorded, recorded.path, str(recorded.path), "digits", None):
        best = narl.best_config(named, runs=recorded.path.parent)
        assert best.found_by.trial_id == 2 and best.pipeline.name == "digits"
    assert narl.best_config(recorded, budget_gflops=0.0025).found_by.trial_id == 1
    assert narl.best_config(recorded, budget_gflops=0.0025, max_leakage=50, min_utility=85).found_by.trial_id == 1
    with pytest.raises(NothingFeasible, match="client_gflops"):
        narl.best_config(recorded, budget_gflops=1e-6)
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        narl.best_config("digit", runs=recorded.path.parent)


def test_what_clients_cost():
    (one,) = narl.profile("resnet18", 4, size=32)
    assert one.feature_shape == (512, 1, 1) and one.cost.uplink_kib == 2
    assert one.to_json()["client_gflops"] == one.cost.client_gflops > 0
    skipped = []
    rows = narl.profile(split=1, size=32, on_skipped=skipped.append)
    assert {row.split for row in rows} == {1} and len(skipped) == 1 and "alexnet" in skipped[0]
