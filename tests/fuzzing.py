"""Damaged and hostile files at every door: mutated YAML, ledgers, bundles and tables, read in this process.

A file is read, or refused with one of narl's own errors in a message that a person can read; nothing else is allowed, and
nothing takes longer than seconds.

    python tests/fuzzing.py --inputs 20000        # or: make fuzz
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from example_pipelines import DIGITS
from example_records import make_record
from PIL import Image

from narl.config.measured import Measured
from narl.config.pipeline import Pipeline
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.core.errors import NarlError
from narl.data.dataset import open_dataset
from narl.export.bundle import load_bundle
from narl.search.ledger import read_ledger

GOLDEN = Path(__file__).parent / "export" / "released_0_2" / "golden" / "bundle.tar.xz"
SECONDS, LONGEST_MESSAGE = 10, 5_000

SPACE = {
    "name": "fuzz",
    "pipeline": DIGITS,
    "architectures": {"mobilenet_v3_small": {"split_points": [3, 12]}, "resnet18": {"split_points": [1]}},
    "sigma": {"low": 0.5, "high": 2, "log": True},
    "lambda": [0.01, 0.1],
    "objectives": ["delta", "client_gflops"],
    "training": {"epochs": 1, "batch_size": 64},
    "attack": {"max_epochs": 2, "min_epochs": 1, "views": 2, "queries": [4]},
    "resources": {"cpus_per_trial": 1, "gpus_per_trial": 0},
}
CONFIG = {
    "pipeline": DIGITS,
    "trial": {"arch": "resnet18", "split": 3, "sigma": 1.0, "lambda": 0.1, "seed": 0},
    "training": {"epochs": 1},
    "attack": {"max_epochs": 7},
}
CLIENT = {"client": "resnet18/1", "image_size": 32, "variant": "float32", "latency_ms": 1.5, "latency_p95_ms": 2.5}
MEASURED = {
    "format": "narl-measured",
    "format_version": 1,
    "date": "2026-11-27T13:26:11+00:00",
    "device": {"cpu": "a phone", "cores": 8},
    "runtime": {"python": "3.11.7"},
    "threads": 1,
    "runs": 200,
    "clients": [CLIENT, CLIENT | {"client": "resnet18/2", "peak_memory_mib": 69.5, "runtime_memory_mib": None}],
}
TABLE = "path,smiles,age\n" + "".join(f"{i}.png,{i % 2},{20 + i % 3}\n" for i in range(60))

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 10**400, 10**30, -(10**30), 0.5, 1e300, -1e300, 5e-324, float("inf"), float("nan"),
    "", " ", "nan", "1e999", "2001-99-99", "1:30", "~nosuch/x", "a\0b", "../../../etc/passwd", "/", ".", "x" * 5_000, "é" * 300,
    "\x1b[2J\x1b]0;x\x07", "two\nlines", "[bold red]x[/]", "<script>", "{{x}}", "%s%n", "s3://", "s3://a b/c", "*", "-",
    [], {}, [[]], [None], {"": 0}, {"a": {"b": {"c": 1}}}, [1, "a", None], list(range(2_000)),
)  # fmt: skip
TOKENS = (
    b"&a ", b"*a", b"<<: *a", b"!!int ''", b"!!python/object:os.system x", b"? ", b": ", b"- ", b"|\n", b">\n", b"'", b'"',
    b"{", b"}", b"[", b"]", b"#", b"\t", b"\r", b"\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b",", b";", b"..",
    b"---\n", b"%YAML 9.9\n", b"[" * 500, b"[" * 100_000, b"{a: " * 300, b"1e400", b"9" * 5_000, b"NaN", b"-.0", b"0x", b"2001-99-99",
)  # fmt: skip


@dataclass
class Findings:
    """What became of all inputs, by kind: read, refused, or what must not be."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run(inputs: int, seed: int, place: Path) -> Findings:
    """Try so many inputs, every kind as often; what is at fault is left in `place`."""
    findings, draw = Findings(), random.Random(seed)
    doors = dict(make_doors(place))
    for number in range(inputs):
        kind = list(doors)[number % len(doors)]
        given, read = doors[kind](draw)
        outcome = _tried(read)
        findings.outcomes[kind, outcome.split(":")[0]] += 1
        if outcome not in ("read", "refused"):
            left = place / f"fault_{number}"
            shutil.copytree(given, left) if given.is_dir() else shutil.copy(given, left)
            findings.faults.append(f"{kind} {left.name}: {outcome}")
    return findings


def _tried(read: Callable[[], object]) -> str:
    try:
        with _at_most(SECONDS):
            read()
    except NarlError as error:
        message = str(error)
        if len(message) > LONGEST_MESSAGE:
            return f"long message: {len(message):,} characters"
        return "refused"
    except _TooLong:
        return "hangs: " + "".join(traceback.format_exc(limit=-3)).replace("\n", " ")[-300:]
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"raises: {type(error).__name__} {str(error)[:120]!r} in {where.filename.rpartition('/')[2]}:{where.lineno}"
        )
    return "read"


def make_doors(place: Path) -> Iterator[tuple[str, Callable[[random.Random], tuple[Path, Callable[[], object]]]]]:
    """By kind: makes an input, and what reads it."""
    for model, content in ((SearchSpace, SPACE), (TrainConfig, CONFIG), (Pipeline, DIGITS)):
        path = place / f"{model.__name__}.yaml"

        def of_yaml(draw: random.Random, path: Path = path, model: Any = model, content: Any = content):
            path.write_bytes(mutated(content, draw, lambda tree: yaml.safe_dump(tree, sort_keys=False)))
            return path, lambda: model.load(path)

        yield path.name, of_yaml

    def of_measured(draw: random.Random):
        path = place / "measured.json"
        path.write_bytes(mutated(MEASURED, draw, json.dumps))
        return path, lambda: Measured.load(path)

    yield "measured", of_measured

    records = [make_record(0).to_json(), make_record(1, error="DivergedTraining: epoch 1").to_json()]

    def of_ledger(draw: random.Random):
        path = place / "ledger.jsonl"
        lines = [json.dumps(record).encode() for record in records]
        chosen = draw.randrange(2)
        lines[chosen] = mutated(records[chosen], draw, json.dumps)
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path, lambda: read_ledger(path)

    yield "ledger", of_ledger

    golden = place / "golden"
    shutil.unpack_archive(GOLDEN, golden)
    (whole,) = [path.parent for path in golden.rglob("manifest.json")]
    load_bundle(whole)  # imports of libraries are no part of what is timed

    def of_bundle(draw: random.Random):
        folder = place / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        path = folder / draw.choice(sorted(file.name for file in folder.iterdir()))
        if path.suffix == ".json":
            path.write_bytes(mutated(json.loads(path.read_bytes()), draw, json.dumps))
        elif path.suffix == ".yaml":
            content = mutated(
                yaml.safe_load(path.read_bytes()), draw, lambda tree: yaml.safe_dump(tree, sort_keys=False)
            )
            _replace(path, content, folder / "manifest.json")
        else:
            _replace(path, garbled(path.read_bytes(), draw), folder / "manifest.json")
        return folder, lambda: load_bundle(folder)

    yield "bundle", of_bundle

    pictures = place / "pictures"
    pictures.mkdir()
    _write_pictures(pictures)

    def of_table(draw: random.Random):
        path = pictures / "table.csv"
        content = TABLE.encode()  # which hardly any change leaves readable
        path.write_bytes(content if draw.random() < 0.05 else garbled(content, draw))
        source = {"kind": "table", "csv": str(path), "path_column": "path"}
        labels = {"utility": {"name": "smiles", "column": "smiles"}, "private": {"name": "age", "column": "age"}}
        pipeline = Pipeline(**{"name": "fuzz", "source": source, "loader": "tensor", **labels})
        return path, lambda: open_dataset(pipeline, splits=("train",))

    yield "table", of_table


def mutated(content: Any, draw: random.Random, write: Callable[[Any], str]) -> bytes:
    """A tree with some of its values replaced, as text; or the text garbled."""
    if draw.random() < 0.4:
        return garbled(write(content).encode(), draw)
    tree = copy.deepcopy(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        holder, key = draw.choice(list(_places(tree)))
        if draw.random() < 0.15:
            del holder[key]
        elif isinstance(holder, dict) and draw.random() < 0.15:
            holder[str(draw.choice(HOSTILE))] = copy.deepcopy(draw.choice(HOSTILE))
        else:
            holder[key] = (
                copy.deepcopy(draw.choice(HOSTILE)) if draw.random() < 0.95 else _deep(draw.randrange(50, 150))
            )
        if not tree:
            break
    return write(tree).encode(errors="surrogatepass")


def garbled(content: bytes, draw: random.Random) -> bytes:
    """Bytes with some cut out, repeated, exchanged or put in."""
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        begin = draw.randrange(len(content) + 1)
        end = min(len(content), begin + draw.choice((1, 2, 10, 100)))
        put = draw.choice((b"", content[begin:end] * 2, draw.randbytes(end - begin), draw.choice(TOKENS)))
        content = content[:begin] + put + content[end:]
    return content


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def _deep(depth: int) -> Any:
    tree: Any = 1
    for _ in range(depth):
        tree = [tree]
    return tree


def _replace(path: Path, content: bytes, manifest: Path) -> None:
    """With a manifest that agrees, or the checksum would refuse it first."""
    path.write_bytes(content)
    told = json.loads(manifest.read_bytes())
    told["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest.write_text(json.dumps(told))


def _write_pictures(folder: Path) -> None:
    for i in range(60):
        Image.new("RGB", (32, 32), (4 * i, 0, 0)).save(folder / f"{i}.png")


class _TooLong(BaseException): ...


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="narl-fuzz-"))
    findings = run(args.inputs, args.seed, place)
    for (kind, outcome), count in sorted(findings.outcomes.items()):
        print(f"{kind:20} {outcome:14} {count:6}")
    for fault in findings.faults:
        print(fault)
    print(
        f"{args.inputs} inputs, {len(findings.faults)} at fault" + (f"; they are in {place}" if findings.faults else "")
    )
    if not findings.faults:
        shutil.rmtree(place)
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
