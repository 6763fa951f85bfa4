"""Exact attackers: seconds of attacker and bound at every number of answers, and the memory that long features need.

digits: a client on real digits, one to infinitely many answers, both labels, all that a trial asks. large: 10,000
answers against 40,000 known images (attacker, τ chosen on 2,000 others) and against themselves (bound), 1,024 values
each, one to infinitely many answers. long: 2,000 images of 129,600 values against themselves, the largest features of
ResNet18 at 178x178. There is no peer. Each row runs in a process of its own, whose peak memory is the kernel's.

    python -m benchmarks.exact
"""

from __future__ import annotations

import itertools
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Timing, arguments, pin_threads, report

TARGETS = {"digits": 0.5, "large": 60.0, "long": 60.0}
LONG_MEMORY_GIB = 2.0
CHECK = "no attacker above its bound by more than luck, bounds rise with the number of answers"


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--row", choices=TARGETS, help="measure one of them here, and print JSON")
    args = parser.parse_args()
    pin_threads(args.threads)
    if args.row:
        print(json.dumps(measured(args.row, args.repeats, args.threads)))
        return
    timings = []
    for row, target in TARGETS.items():
        command = (sys.executable, "-m", "benchmarks.exact", "--row", row)
        options = ("--repeats", str(args.repeats), "--threads", str(args.threads))
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        timings.append(Timing(row, found["what"], found["seconds"], target, CHECK, found["notes"]))
    report("exact", timings, args)


def measured(row: str, repeats: int, threads: int) -> dict:
    """What a row took, in this process."""
    import torch

    torch.set_num_threads(threads)
    what, ask = {"digits": digits, "large": large, "long": long}[row]()
    before = peak_gib()
    if row == "digits":
        ask()  # warm-up; the others are long enough for a first time
    begin = time.process_time()
    parts = [ask() for _ in range(repeats)]
    cpu = (time.process_time() - begin) / repeats
    total = [sum(each.values()) for each in parts]
    notes = {f"seconds of {name}": [round(each[name], 3) for each in parts] for name in parts[0]}
    notes |= {"CPU seconds of a repeat": round(cpu, 2), "load of the machine meanwhile": round(os.getloadavg()[0], 1)}
    notes |= {"peak memory, GiB": round(peak_gib(), 2), "of which before": round(before, 2)}
    if row == "long":
        notes["memory target"] = f"<= {LONG_MEMORY_GIB:g} GiB {'met' if peak_gib() <= LONG_MEMORY_GIB else 'MISSED'}"
    return {"what": what, "seconds": total, "notes": notes}


def peak_gib() -> float:
    """Of this process so far; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def digits():
    """A client on digits, as it is before training: distances cost the same."""
    import torch

    from narl.attacks.exact.of_target import exact_leakage
    from narl.attacks.target import Target
    from narl.config.load import build
    from narl.config.pipeline import Pipeline
    from narl.config.trial import Attack
    from narl.core.point import Point
    from narl.core.steps import drained
    from narl.data.dataset import open_dataset
    from narl.methods.catalogue import halves_of
    from narl.training.precision import Precision

    dataset = open_dataset(Pipeline.load(Path(__file__).parents[1] / "pipelines" / "digits.yaml"))
    chosen = {"arch": "mobilenet_v3_small", "split": 8, "sigma": 7.4, "lambda": 0.01}
    halves = halves_of(build(Point, chosen, "trial"), dataset.image_size)
    precision = Precision(torch.device("cpu"), torch.float32)
    how = {"halves": halves, "settings": Attack(), "precision": precision, "seed": 0, "report_on": "validation"}
    target = Target(halves.client(seed=0), dataset, **how)

    def ask() -> dict[str, float]:
        begin = time.perf_counter()
        found = drained(exact_leakage(target), lambda step: None)
        seconds = time.perf_counter() - begin
        for label in ("private", "utility"):
            readings = {n: each.scores.accuracy for n, each in found.readings[label].items()}
            check(readings, {n: each.percent for n, each in found.bounds.labels[label].items()}, 269)
        return {"attacker and bound": seconds}

    known = target.views.num_samples * getattr(target.views, "versions", 1)
    return f"digits, {target.features['validation'].num_samples} images, {known} known, 6 numbers of answers", ask


def large():
    import torch

    from narl.attacks.exact.attacker import Images, bayes_attack
    from narl.attacks.exact.bound import bayes_bounds
    from narl.attacks.exact.levels import at_queries
    from narl.attacks.queries import QUERIES
    from narl.core.steps import drained
    from narl.models.noise.gaussian import GaussianNoise

    generator = torch.Generator().manual_seed(0)
    centres = 0.2 * torch.randn(10, 1024, generator=generator)

    def images(count: int) -> Images:
        labels = torch.arange(count) % 10
        features = centres[labels] + torch.randn(count, 1024, generator=generator)
        return Images(features.view(count, 1024, 1, 1), {"private": labels, "utility": labels % 2})

    known, validation, reported = images(40_000), images(2_000), images(10_000)
    noises = at_queries(GaussianNoise(10.0), QUERIES)

    def ask() -> dict[str, float]:
        begin = time.perf_counter()
        bounds = drained(bayes_bounds(reported.features, noises, reported.labels, seed=0), lambda step: None)
        between = time.perf_counter()
        readings = drained(bayes_attack(known, validation, reported, noises, seed=0), lambda step: None)
        end = time.perf_counter()
        for label in ("private", "utility"):
            accuracies = {n: each.scores.accuracy for n, each in readings[label].items()}
            check(accuracies, {n: each.percent for n, each in bounds.labels[label].items()}, 10_000)
        return {"bound, 10,000 x 10,000": between - begin, "attacker, 10,000 x 40,000": end - between}

    return "10,000 answers, 1,024 values, 6 numbers of answers", ask


def long():
    import torch

    from narl.attacks.exact.bound import bayes_bounds
    from narl.attacks.exact.levels import at_queries
    from narl.attacks.queries import QUERIES
    from narl.core.steps import drained
    from narl.models.noise.gaussian import GaussianNoise

    features = torch.empty(2_000, 129_600, 1, 1)
    features.normal_(generator=torch.Generator().manual_seed(0))
    labels = {"private": torch.arange(2_000) % 10}
    noises = at_queries(GaussianNoise(150.0), QUERIES)

    def ask() -> dict[str, float]:
        begin = time.perf_counter()
        bounds = drained(bayes_bounds(features, noises, labels, seed=0), lambda step: None)
        seconds = time.perf_counter() - begin
        check({}, {n: each.percent for n, each in bounds.labels["private"].items()}, 2_000)
        return {"bound": seconds}

    return "2,000 images of 129,600 values, 6 numbers of answers", ask


def check(accuracies: dict[float, float], bounds: dict[float, float], images: int) -> None:
    """Raises AssertionError where the numbers cannot be."""
    percents = [bounds[n] for n in sorted(bounds)]
    assert all(one <= other + 0.5 for one, other in itertools.pairwise(percents)), percents
    assert percents[-1] > 99.9
    for n, accuracy in accuracies.items():
        assert accuracy <= bounds[n] + 5 * 50 / math.sqrt(images), (n, accuracy, bounds[n])


if __name__ == "__main__":
    main()
