"""Dependencies point one way: a module imports only from lower floors, and light floors stay light."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "narl"
BENCHMARKS = PACKAGE.parent / "benchmarks"
EXAMPLES = PACKAGE.parent / "examples"

# Lowest first. A module may import from its own entry and from those above it in this list.
FLOORS = [
    ["core"],
    ["storage", "figures", "models", "sampler"],
    ["config"],
    ["data"],
    ["training"],
    ["methods"],
    ["attacks"],
    ["checkpoints"],
    ["trial"],
    ["tracking", "export"],
    ["evaluation", "search"],
    ["confirmation"],
    ["proposal", "report"],
    ["cli"],
    ["__main__", "__init__"],  # the latter names functions of every floor, and imports them when they are used
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
LIGHT = {"numpy", "torch", "torchvision", "ray", "optuna", "mlflow", "ffcv", "matplotlib", "plotly", "boto3", "pandas"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of everything a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def unit(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = unit(path)
    assert here in FLOOR_OF, f"{here} has no floor"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "narl" or len(parts) == 1 or parts[1] == "__version__":
            continue
        there = parts[1]
        assert there == here or FLOOR_OF[there] < FLOOR_OF[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_core_files_renames(path):
    if path == PACKAGE / "core" / "files.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            call, arguments = ast.unparse(node.func), len(node.args)
            renames = node.func.attr in ("rename", "renames") or call in ("os.replace", "shutil.move")
            # Path.replace takes one path; str.replace takes two strings, and the others take keywords.
            renames |= node.func.attr == "replace" and arguments == 1 and not node.keywords
            assert not renames, f"{path}, line {node.lineno}: {call} belongs into narl/core/files.py"


def test_benchmarks_import_in_no_circle():
    modules = {path.stem: path for path in BENCHMARKS.glob("*.py")}
    graph = {
        name: {parts[1] for parts in (full.split(".") for full in imports(path)) if parts[0] == "benchmarks"}
        for name, path in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_examples_need_no_command_line(path):
    found = imports(path)
    assert "narl" in found and not [name for name in found if name.startswith("narl.cli") or "._" in name]


def test_records_and_configuration_need_no_heavy_library():
    modules = "narl.core.pareto, narl.search.ledger, narl.search.folder"
    code = f"import sys, {modules}\nprint(sorted({LIGHT!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_help_imports_no_heavy_library_not_even_pydantic():
    code = (
        "import sys\nfrom narl.cli.main import build_parser\nbuild_parser().format_help()\n"
        f"print(sorted({LIGHT | {'pydantic', 'rich', 'yaml'}!r} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_file_is_a_grab_bag():
    assert not [path for path in MODULES if path.stem in ("utils", "helpers", "common", "misc")]
