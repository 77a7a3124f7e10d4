"""What a score does not tell: subgroups, calibration, decision curves and robustness, drawn."""

from __future__ import annotations
