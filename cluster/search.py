"""The driver that `ray submit cluster.yaml search.py [SPACE] [options]` runs on a cluster's head node.

The same code as `narl search`, on the cluster that this machine belongs to. Options are those of
`narl search`; without a space it searches the embedded one of the checkout that the cluster file mounts.
"""

import sys
from pathlib import Path

# Ray copies this file to the home folder and runs it there: a folder of narl's name beside it is not the package.
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

from narl.cli.main import main  # noqa: E402

EMBEDDED_SPACE = Path("~/narl-checkout/search_spaces/digits.yaml").expanduser()


def arguments(argv: list[str]) -> list[str]:
    """`narl search` arguments: the embedded space and the cluster at hand unless others are named."""
    space = [] if argv and not argv[0].startswith("-") else [str(EMBEDDED_SPACE)]
    named = any(option.split("=")[0] == "--ray-address" for option in argv)
    return ["search", *space, *argv, *([] if named else ["--ray-address", "auto"])]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:])))
