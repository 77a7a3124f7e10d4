"""Values of arXiv 2509.00866 (Zhang, Chen, Zhou), as marks: its protocol is repeated here, not its numbers."""

from __future__ import annotations

import pandas as pd

TITLES = {"colondb": "Polyps, CVC-ColonDB", "fives": "Vessels, FIVES", "busi": "Breast, BUSI"}
MEASURES = {name.lower(): [f"{name}, specialist", f"{name}, omnimodel"] for name in ("Dice", "HD95")}  # HD95 in pixels
_ROWS = (
    ("colondb", "hard", "HSNet", 0.043, 0.236, 332.4, 304.6),
    ("colondb", "easy", "HSNet", 0.974, 0.877, 6.9, 87.4),
    ("fives", "hard", "U-Net", 0.587, 0.283, 174.3, 408.9),
    ("fives", "easy", "U-Net", 0.915, 0.624, 12.0, 111.0),
    ("busi", "hard", "Mask2Former", 0.031, 0.211, 263.8, 198.1),
    ("busi", "easy", "Mask2Former", 0.952, 0.705, 15.5, 121.3),
)
# Its three tables, by task and cases.
_COLUMNS = ["task", "cases", "specialist", *MEASURES["dice"], *MEASURES["hd95"]]
PUBLISHED = pd.DataFrame(_ROWS, columns=_COLUMNS).set_index(["task", "cases"])
# The study's task that a set belongs to; a simulated one belongs to none.
TASK_OF = {
    **dict.fromkeys(("colondb", "clinicdb", "kvasir", "etis", "cvc300"), "colondb"),
    **dict.fromkeys(("fives", "drive", "stare", "chase_db1"), "fives"),
    "busi": "busi",
}


def shown() -> pd.DataFrame:
    """The study's own tables, for reference: other cases, other models."""
    return PUBLISHED.rename(TITLES, level="task").reset_index()
