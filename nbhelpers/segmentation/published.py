"""Values of arXiv 2509.00866 (Zhang, Chen, Zhou), as marks: its protocol is repeated here, not its numbers."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row of its tables: Dice (0 to 1) and HD95 (pixels) of specialist (a) and omnimodel (b)."""

    specialist: str
    dice: dict[str, tuple[float, float]]
    hd95: dict[str, tuple[float, float]]


PUBLISHED = {
    "colondb": Published(
        "HSNet", {"hard": (0.043, 0.236), "easy": (0.974, 0.877)}, {"hard": (332.4, 304.6), "easy": (6.9, 87.4)}
    ),
    "fives": Published(
        "U-Net", {"hard": (0.587, 0.283), "easy": (0.915, 0.624)}, {"hard": (174.3, 408.9), "easy": (12.0, 111.0)}
    ),
    "busi": Published(
        "Mask2Former", {"hard": (0.031, 0.211), "easy": (0.952, 0.705)}, {"hard": (263.8, 198.1), "easy": (15.5, 121.3)}
    ),
}
TITLES = {"colondb": "Polyps, CVC-ColonDB", "fives": "Vessels, FIVES", "busi": "Breast, BUSI"}
# The study's task that a set belongs to; a simulated one belongs to none.
TASK_OF = {
    **dict.fromkeys(("colondb", "clinicdb", "kvasir", "etis", "cvc300"), "colondb"),
    **dict.fromkeys(("fives", "drive", "stare", "chase_db1"), "fives"),
    "busi": "busi",
}
