"""The colours and shapes of every figure."""

from __future__ import annotations

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that vanishes on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5D5D5D")
# Ten architectures outnumber the colours, so each has a shape too: (matplotlib, plotly).
SHAPES = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("p", "pentagon"),
    ("*", "star"),
)
RIM = "#1A1A1A"
