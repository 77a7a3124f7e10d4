"""Training and validation halves of a synthetic set, such that no prompt pair or patient is in both."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError

TRAIN, VALIDATION = "train", "validation"


def groups_of(table: pd.DataFrame) -> pd.Series:
    """The unit that must not be split, a text for each row: prompt pair, else patient, else the image itself.

    The two images of a prompt pair show the same drawn anatomy, and the films of a patient the same body; with one of
    them in training the other would be recognised rather than read.
    """
    group = pd.Series("", index=table.index, dtype="str")
    for column in ("pair_id", "patient_id", "image_id"):
        if column in table:
            known = table[column].notna() & (table[column].astype("str") != "")
            fill = (group == "") & known
            group = group.mask(fill, column.removesuffix("_id") + " " + table[column].astype("str"))
    return group


def _rank(group: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\n{group}".encode()).digest()[:8], "big")


def split_groups(table: pd.DataFrame, val_fraction: float, seed: int) -> pd.DataFrame:
    """Split the images of an arm into training and validation, by group and balanced over the classes.

    Groups are ordered by a hash of their name and the seed, not by their place in the table. So arms that share a
    source share the split, and leaving an image out moves hardly any other one across.

    Parameters
    ----------
    table : DataFrame
        `image_id`, `label` (`pneumonia` or `normal`) and, where known, `pair_id` or `patient_id`.
    val_fraction : float
        Share of the groups that validates, more than 0 and at most 0.5.
    seed : int
        Another seed gives another split.

    Returns
    -------
    DataFrame with `image_id, pair_id, label` (1 = pneumonia), `group, source, split` (`train` or `validation`), in the
    order of `table`.

    Raises
    ------
    UserError
        When a class is absent or has fewer than two groups, or `val_fraction` is out of range.
    """
    if not 0 < val_fraction <= 0.5:
        raise UserError(f"val_fraction = {val_fraction}", "val_fraction", "use more than 0 and at most 0.5")
    label = (table["label"] == "pneumonia").astype(int)
    split = pd.DataFrame(
        {
            "image_id": table["image_id"],
            "pair_id": table.get("pair_id", pd.NA),
            "label": label,
            "group": groups_of(table),
            "source": table.get("source", ""),
        }
    )
    _check_classes(split)
    # What a group holds: only groups of one kind are dealt out together, which keeps the classes balanced.
    kind = split.groupby("group")["label"].agg(lambda values: "".join(str(v) for v in sorted(set(values))))
    chosen: list[str] = []
    for name in sorted(set(kind)):
        members = sorted(kind.index[kind == name], key=lambda group: (_rank(group, seed), group))
        wanted = round(len(members) * val_fraction)
        # Every kind with two groups to give has one on either side, however few there are.
        chosen += members[: min(max(wanted, 1), len(members) - 1)] if len(members) > 1 else []
    split["split"] = np.where(split["group"].isin(chosen), VALIDATION, TRAIN)
    for part in (TRAIN, VALIDATION):
        _check_classes(split[split["split"] == part], part)
    return split


def _check_classes(split: pd.DataFrame, part: str = "") -> None:
    groups = split.groupby("label")["group"].nunique()
    counts = {name: int(groups.get(value, 0)) for value, name in ((1, "pneumonia"), (0, "normal"))}
    found = ", ".join(f"{name} {count}" for name, count in counts.items())
    if part and min(counts.values()) < 1:
        raise UserError(f"too few images: the {part} part has {found}", "split", "raise images_per_class")
    if not part and min(counts.values()) == 0 and len(split):
        raise UserError(f"only one class is left: {found}", "label", "a classifier needs pneumonia and normal images")
    if not part and min(counts.values()) < 2:
        raise UserError(
            f"too few images to split: prompt pairs or patients are {found}", "images", "raise images_per_class"
        )


def check_split(split: pd.DataFrame) -> pd.DataFrame:
    """The split as a table, one row a part, once no group is in both.

    Returns
    -------
    DataFrame with `split, images, pneumonia, normal, groups, shared groups`.

    Raises
    ------
    UserError
        When a group is in both parts, or an image is listed twice.
    """
    parts = split.groupby("group")["split"].nunique()
    straddling = sorted(parts.index[parts > 1])
    if straddling:
        raise UserError(f"{len(straddling)} groups are in both parts", f"e.g. {straddling[0]}", "split again")
    twice = split["image_id"][split["image_id"].duplicated()]
    if len(twice):
        raise UserError("an image is listed twice", str(twice.iloc[0]), "correct the table")
    rows = [
        {
            "split": part,
            "images": len(rows),
            "pneumonia": int((rows["label"] == 1).sum()),
            "normal": int((rows["label"] == 0).sum()),
            "groups": rows["group"].nunique(),
            "shared groups": len(straddling),
        }
        for part, rows in ((name, split[split["split"] == name]) for name in (TRAIN, VALIDATION))
    ]
    return pd.DataFrame(rows)


def pairs(split: pd.DataFrame) -> NDArray[np.int64]:
    """Rows of `split` as pairs of a normal and a pneumonia image, which go through training side by side.

    The two of a prompt pair come first: they share all but the disease, so what tells them apart in a batch is the
    disease. What has no partner is matched to whatever is left; when the classes differ in size, the smaller one is
    repeated, so that training always sees as many of either.

    Returns
    -------
    int64 array, shape (n, 2)
        Positions (not index labels) in `split`: normal, pneumonia. Every row occurs at least once.
    """
    position = pd.Series(np.arange(len(split)), index=split.index)
    matched: list[tuple[int, int]] = []
    left: dict[int, list[int]] = {0: [], 1: []}
    for _, rows in split.groupby(["group", "source"] if "source" in split else "group", sort=True):
        normal = [int(i) for i in position[rows.index[rows["label"] == 0]]]
        pneumonia = [int(i) for i in position[rows.index[rows["label"] == 1]]]
        shared = min(len(normal), len(pneumonia))
        matched += zip(normal[:shared], pneumonia[:shared], strict=True)
        left[0] += normal[shared:]
        left[1] += pneumonia[shared:]
    surplus = max(len(left[0]), len(left[1]))
    for label in (0, 1):
        # Repeats are taken in turn from the whole class, so that no image counts much more than another.
        pool = [pair[label] for pair in matched] + left[label]
        left[label] = left[label] + [pool[i % len(pool)] for i in range(surplus - len(left[label]))]
    return np.array(matched + list(zip(left[0], left[1], strict=True)), dtype=np.int64).reshape(-1, 2)
