"""The files that a bundle carries, as modules: there the others find the client under this name."""

import sys

from narl.export.runtime import narl_client

sys.modules.setdefault("narl_client", narl_client)
