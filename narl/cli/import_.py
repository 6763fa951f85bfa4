"""`narl import s3://BUCKET/PREFIX --to DIR`: bring an export to a folder, which it fills at once or not at all.

Every file's size and SHA-256 are compared with its manifest's. That is no proof of who made it, or that it does what it
says: `narl verify DIR` tests it by its own answers.
"""

from __future__ import annotations

import argparse

from narl.cli.arguments import local_path
from narl.cli.terminal import say


def register(subparsers) -> None:
    parser = subparsers.add_parser("import", help="bring an export to a folder, checked", description=__doc__)
    parser.add_argument("source", metavar="s3://BUCKET/PREFIX|DIR", help="what narl export --to was given")
    parser.add_argument("--to", required=True, type=local_path, metavar="DIR", help="the folder")
    parser.add_argument("--endpoint-url", metavar="URL", help="S3 endpoint, for stores other than AWS")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.core.addresses import shown
    from narl.core.plural import counted
    from narl.core.printable import printable
    from narl.export.incoming import import_bundle

    manifest = import_bundle(args.source, args.to, endpoint_url=args.endpoint_url)
    size = sum(file["size"] for file in manifest["files"].values())
    made = f"made by narl {manifest.get('narl_version', '?')}, {manifest.get('created', '?')}"
    say(
        printable(
            f"imported {shown(args.source)} to {args.to}: {counted(len(manifest['files']), 'file')}, "
            f"{size / 2**20:.1f} MiB, {made}"
        )
    )
    return 0
