"""`python -m narl` is the `narl` command."""

import sys

from narl.cli.main import main

sys.exit(main())
