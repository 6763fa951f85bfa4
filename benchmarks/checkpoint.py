"""How long a checkpoint holds a trial up: narl's ResNet18 split at 3, three networks and the moments of three Adams.

The trial waits while its tensors are copied; the rest is a thread's, beside the next epoch. The step after a checkpoint
is timed too, with and without a thread at work. There is no peer.

Measured: held up 54 ms, 235 MB whole on disk after 0.83 s (one thread on 2 cores of an AMD EPYC, 2026-11-25).

    python -m benchmarks.checkpoint --threads 1
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Timing, arguments, pin_threads, report

BATCH, SIZE = 128, 32


def main() -> None:
    args = arguments(__doc__, repeats=10).parse_args()
    pin_threads(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="narl-bench-") as name:
        timings = measure(Path(name), args.repeats)
    report("checkpoint", timings, args)


def measure(folder: Path, repeats: int) -> list[Timing]:
    import torch

    from narl.checkpoints.method_state import tensors_of
    from narl.checkpoints.store import Checkpoints
    from narl.checkpoints.trial_state import TrialState
    from narl.config.pipeline import Pipeline
    from narl.config.trial import TrainConfig
    from narl.core.point import Point
    from narl.methods.base import Ingredients
    from narl.methods.catalogue import METHODS, halves_of
    from narl.training.memory import keep_freed_memory
    from narl.training.precision import default_device

    point = Point(arch="resnet18", split=3, sigma=1.0, lambda_=0.01)
    config = TrainConfig(pipeline=Pipeline.load(Path("pipelines/digits.yaml")), trial=point)

    def build():
        record = point
        return METHODS["narl"](Ingredients(record, halves_of(record, SIZE), 1, 10, 1e-3, "auto", default_device()))

    device = default_device()
    keep_freed_memory()  # as a trial does
    images = torch.rand(BATCH, 3, SIZE, SIZE, device=device).to(memory_format=torch.channels_last)
    utility, private = torch.randint(2, (BATCH,), device=device), torch.randint(10, (BATCH,), device=device)

    def step(method) -> float:
        started = time.perf_counter()
        method.step(images, utility, private).task.item()
        return time.perf_counter() - started

    checkpoints = Checkpoints(str(folder), "trial", every_seconds=0)
    state = TrialState(config, "validation", checkpoints)
    method = state.begin(build)
    alone = [step(method) for _ in range(3 + repeats)][3:]
    held, whole, beside = [], [], []
    for repeat in range(-2, repeats):
        started = time.perf_counter()
        state.epoch_ended(method)
        held_up = time.perf_counter() - started
        slowed = step(method)
        checkpoints.wait()
        if repeat >= 0:
            held.append(held_up), beside.append(slowed)
        before = time.perf_counter()
        state.epoch_ended(method)
        checkpoints.wait()
        if repeat >= 0:
            whole.append(time.perf_counter() - before)
    (file,) = folder.iterdir()
    expected = {name: tensor.clone() for name, tensor in tensors_of(method).items()}

    resumed = TrialState(config, "validation", Checkpoints(str(folder), "trial", every_seconds=0))
    started = time.perf_counter()
    restored = resumed.begin(build)
    restoring = time.perf_counter() - started
    resumed.checkpoints.wait()
    found = tensors_of(restored)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    check = f"{len(expected)} tensors come back equal to the last bit"
    notes = {
        "file, MB": round(file.stat().st_size / 1e6, 1),
        "built, read, checked and restored, s": round(restoring, 2),
        "a step of 128 images alone, s": round(statistics.median(alone), 3),
        "a step while a file is written, s": round(statistics.median(beside), 3),
    }
    return [
        Timing("10", "a trial is held up by a checkpoint, ResNet18/3", held, 0.5, check, notes),
        Timing("10", "the same until its file is whole on a local disk", whole, 5.0, check),
    ]


if __name__ == "__main__":
    main()
