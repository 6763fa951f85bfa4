"""`narl data build`: write a pipeline's images as FFCV files."""

from __future__ import annotations

import argparse

from narl.cli.arguments import local_path
from narl.cli.terminal import say


def register(subparsers: argparse._SubParsersAction) -> None:
    data = subparsers.add_parser("data", help="prepare image data")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write the .beton files of a pipeline", description=__doc__)
    build.add_argument(
        "pipeline", metavar="PIPELINE", type=local_path, help="pipeline file, for example pipelines/digits.yaml"
    )
    build.add_argument("--cache-dir", help="where to (default: $NARL_CACHE, else $XDG_CACHE_HOME/narl)")
    build.add_argument("--force", action="store_true", help="write them again even if they are up to date")
    build.add_argument(
        "--to", metavar="PLACE", help="store them too, for nodes: a path they share, or s3://bucket/prefix"
    )
    build.set_defaults(run=run_build)


def run_build(args: argparse.Namespace) -> int:
    """Print the classes, then a line per split: path, images, size, and whether it was built, fetched or up to date."""
    from narl.config.pipeline import Pipeline
    from narl.data.beton import ensure_betons
    from narl.data.beton_store import open_beton_store
    from narl.data.labelled import label

    pipeline = Pipeline.load(args.pipeline)
    if args.to is not None:
        open_beton_store(args.to, pipeline.name)  # an address that names no store is told before anything is written
    labelled = label(pipeline, args.cache_dir)
    betons = ensure_betons(pipeline, labelled, args.cache_dir, force=args.force)
    for line in labelled.told:
        say(line)
    for beton in betons:
        size = beton.path.stat().st_size / 2**20
        say(f"{beton.split:<10}  {beton.state:<10}  {beton.images:>8} images  {size:8.1f} MiB  {beton.path}")
    if args.to is not None:
        folder = betons[0].path.parent
        store = open_beton_store(args.to, folder.name)
        store.upload(folder, [beton.split for beton in betons])
        say(f"stored in {store.url}")
    return 0
