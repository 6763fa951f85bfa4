"""No Noise (the paper's ablation, Table 1): NARL's objective with σ = 0, so adversarial training alone.

    M2 minimises L_task(M2(M1(x))),  A minimises L_leak(A(M1(x))),  M1 minimises L_task − λ L_leak

Published: split 3 and 4 of ResNet18, λ 0.01.
"""

from __future__ import annotations

from narl.methods.narl import Narl


class NoNoise(Narl):
    """Narl, whose configuration has no σ (see narl/core/method_options.py)."""
