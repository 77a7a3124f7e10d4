from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nbhelpers.cropping import against_truth
from nbhelpers.errors import UserError
from nbhelpers.images.masks import Box


def test_content_takes_the_watermark_off_99_percent_and_keeps_98_percent_of_the_lungs(
    drawn: tuple[Path, pd.DataFrame], cropped: tuple[Path, pd.DataFrame]
) -> None:
    """Measured here from the truth itself, without the library's own table."""
    folder, _ = drawn
    gone, kept = [], []
    for row in cropped[1].query("crop == 'content'").to_dict("records"):
        bits = np.asarray(Image.open(folder / "simulator" / "truth" / f"{row['image_id']}.png"))
        box = [int(row[side]) for side in Box._fields]
        mark = [int(row[f"watermark_{side}"]) for side in Box._fields]
        gone.append(mark[0] >= box[2] or mark[1] >= box[3] or mark[2] <= box[0] or mark[3] <= box[1])
        lungs = bits & 1 > 0
        kept.append(lungs[box[1] : box[3], box[0] : box[2]].sum() / lungs.sum())
    assert len(gone) == 240
    assert np.mean(gone) >= 0.99
    assert np.mean(kept) >= 0.98
    assert np.quantile(kept, 0.01) > 0.80, "no image loses its lungs"


def test_the_truth_table_says_the_same_and_none_keeps_every_watermark(
    drawn: tuple[Path, pd.DataFrame], cropped: tuple[Path, pd.DataFrame]
) -> None:
    truth = against_truth.truth_table(cropped[1], drawn[0]).set_index("crop")
    assert truth.loc["none", ["watermark_gone", "lung_kept", "under_98", "overlay_left", "area"]].tolist() == [
        0,
        1,
        0,
        1,
        1,
    ]
    assert truth.loc["content", "watermark_gone"] >= 0.99 and truth.loc["content", "lung_kept"] >= 0.98
    assert truth.loc["content", "overlay_left"] < 0.35
    assert truth.loc["content", "lung_kept"] > truth.loc["margins", "lung_kept"] - 0.02
    assert "ok (240 images)" in against_truth.check_crops(truth.reset_index())


def test_a_content_crop_that_fails_stops_the_run() -> None:
    row = {
        "source": "simulator",
        "crop": "content",
        "images": 9,
        "watermark_gone": 1.0,
        "lung_kept": 0.9,
        "under_98": 1.0,
    }
    with pytest.raises(UserError, match=r"90\.0% of lung pixels"):
        against_truth.check_crops(pd.DataFrame([row]))
    with pytest.raises(UserError, match=r"gone in 98\.0%"):
        against_truth.check_crops(pd.DataFrame([row | {"watermark_gone": 0.98, "lung_kept": 1.0}]))
    with pytest.raises(UserError, match=r"no image has a watermark.*crop: none"):
        against_truth.check_crops(pd.DataFrame([row | {"watermark_gone": float("nan")}]))
    assert "nothing to check" in against_truth.check_crops(pd.DataFrame([row | {"crop": "none"}]))
