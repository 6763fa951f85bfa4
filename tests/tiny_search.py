"""A search of seconds a trial, run as a user runs it: the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import optuna
import yaml
from example_pipelines import DIGITS

from narl.search.folder import SearchFolder

SPACE = {
    "name": "tiny",
    "pipeline": DIGITS | {"splits": {"train_limit": 200, "validation_limit": 100, "test_limit": 100}},
    "architectures": {"mobilenet_v3_small": {"split_points": [12]}, "shufflenet_v2_x1_0": {"split_points": [5]}},
    "sigma": {"low": 0.5, "high": 2},
    "lambda": [0.01, 0.1],
    "trials": 4,
    "training": {"epochs": 1, "batch_size": 64},
    "attack": {"epoch_steps": 1, "clean_epochs": 0, "max_epochs": 2, "min_epochs": 1, "batch_size": 64},
}
SEARCH = Path(__file__).parents[1] / "cluster" / "search.py"
NARL = (sys.executable, "-m", "narl")
# Seconds a command may take: a loaded machine is several times slower than an idle one.
TIMEOUT = 400


def write_space(folder: Path, **changes) -> Path:
    """`tiny.yaml` in `folder`."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(SPACE | changes), encoding="utf-8")
    return path


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """This process's, with a cache in `folder` and without what would lead elsewhere."""
    elsewhere = ("NARL_", "MLFLOW_", "RAY_", "TUNE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(elsewhere)}
    return kept | {"NARL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"} | changes


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    pid: int
    returncode: int
    stdout: str
    stderr: str


def start(folder: Path, *argv: str, command: tuple[str, ...] = NARL, **env: str) -> subprocess.Popen[str]:
    """A command line begun in `folder`, in a session of its own."""
    return subprocess.Popen(
        [*command, *argv],
        cwd=folder,
        env=environment(folder, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for its end, and for that of everything that holds its output open."""
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    except BaseException:
        process.kill()
        raise
    return Done(process.pid, process.returncode, stdout, stderr)


def narl(folder: Path, *argv: str, command: tuple[str, ...] = NARL, **env: str) -> Done:
    """Run a command line in `folder` to its end."""
    return finish(start(folder, *argv, command=command, **env))


def ray_folders(driver: int) -> list[Path]:
    """What the Ray runtime of that driver has on disk."""
    return list(Path("/tmp").glob(f"narl-ray-*/r/session_*_{driver}"))


def study_of(folder: SearchFolder) -> optuna.Study:
    """The Optuna study in the search's folder."""
    space = folder.load_space()
    return optuna.load_study(study_name=f"{space.name}-{space.content_hash}", storage=folder.study_url)
