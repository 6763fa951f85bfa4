"""Every attack of an evaluation besides leakage, which comes first: one line each."""

from __future__ import annotations

from narl.attacks.audit import Audits
from narl.attacks.averaging import Averaging
from narl.attacks.certificate import Certificate
from narl.attacks.control import Control
from narl.attacks.finding import Finding
from narl.attacks.gaussian_mechanism import Guarantee
from narl.attacks.inversion import Inversion
from narl.attacks.reconstruction import Reconstructions
from narl.attacks.sigma_profile import SigmaProfile

# In the order in which they are made.
FINDINGS: tuple[type[Finding], ...] = (
    Certificate,
    SigmaProfile,
    Averaging,
    Reconstructions,
    Inversion,
    Control,
    Audits,
    Guarantee,
)
# What `--attacks` may name.
ATTACKS = ("leakage", *(finding.name for finding in FINDINGS if finding.on_request))
