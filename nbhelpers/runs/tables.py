"""The CSV tables that stages share: their columns, checked on the way in and on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from nbhelpers.errors import UserError
from nbhelpers.runs.cells import read_cells
from nbhelpers.runs.files import atomic_path

LABELS = ("normal", "pneumonia")
_LABEL_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "normal": 0, "pneumonia": 1}

# What an editor's answer is, in `edits.csv`.
EDIT_ANSWERS = ("edited", "unchanged", "refused", "text_only", "draft_only", "broken", "no_answer")

# Columns of true and false, in whatever table.
FLAGS = ("simulated", "primary", "uses_labels", "comes_out", "stand_in")

_text = pa.Column(str, coerce=True)
_optional_text = pa.Column(str, coerce=True, nullable=True)
_whole = pa.Column(float, coerce=True, nullable=True)
_unit = pa.Column(float, pa.Check.in_range(0, 1), coerce=True)
_number = pa.Column(float, coerce=True, nullable=True)
_count = pa.Column(float, coerce=True, nullable=True)

_image_columns = {
    "image_id": _text,
    "path": _optional_text,
    "label": pa.Column(str, pa.Check.isin(LABELS)),
    "source": _text,
    "simulated": pa.Column(bool),
    "prompt": _optional_text,
    "model": _optional_text,
    "sha256": _optional_text,
    "width": _whole,
    "height": _whole,
    "status": _text,
}

SCHEMAS: dict[str, pa.DataFrameSchema] = {
    # 01_prompting/<source>/images.csv: one row is one wanted image.
    "images": pa.DataFrameSchema(_image_columns, unique=["image_id"]),
    # reviews.csv: one row is one reviewer's decision on one image.
    "reviews": pa.DataFrameSchema(
        {
            **dict.fromkeys(("source", "image_id", "reviewer"), _text),
            "decision": pa.Column(str, pa.Check.isin(("keep", "reject"))),
            "reason": _optional_text,
            "time": _optional_text,
        },
        unique=["source", "image_id", "reviewer"],
    ),
    # 02_cropping/<source>/images.csv: one row is one image under one crop.
    "cropped": pa.DataFrameSchema(
        {
            **_image_columns,
            "crop": _text,
            "left": _whole,
            "top": _whole,
            "right": _whole,
            "bottom": _whole,
            "reason": _optional_text,
        },
        unique=["image_id", "crop"],
    ),
    # 03_training/<arm>/history.csv: one row is one epoch.
    "history": pa.DataFrameSchema(
        {"epoch": pa.Column(int, coerce=True), "train_loss": _number, "val_loss": _number, "val_auroc": _number},
        unique=["epoch"],
    ),
    # 04_external_validation/predictions.csv: one row is one film under one arm.
    "predictions": pa.DataFrameSchema(
        {
            "arm": _text,
            "dataset": _text,
            "image_id": _text,
            "patient_id": _optional_text,
            "label": pa.Column(int, pa.Check.isin((0, 1)), coerce=True),
            "score": _unit,
        },
        unique=["arm", "dataset", "image_id"],
    ),
    # 04_external_validation/metrics.csv: one row is one metric of one arm on one (sub)set, by one interval method.
    "metrics": pa.DataFrameSchema(
        {
            "arm": _text,
            "dataset": _text,
            "subgroup": _text,
            "metric": _text,
            "value": _number,
            "ci_low": _number,
            "ci_high": _number,
            "n": _count,
            "n_patients": _count,
            "prevalence": _number,
            "ci_method": _optional_text,
        }
    ),
    # 05_interpretability/clusters.csv: one row is one K-means clustering.
    "clusters": pa.DataFrameSchema({"arm": _text, "dataset": _text, "accuracy": _unit, "ari": _number}),
    # 06_image_editing/edits.csv: one row is one edit by one editor.
    "edits": pa.DataFrameSchema(
        {
            **dict.fromkeys(("editor", "provider", "task", "image_id"), _text),
            **dict.fromkeys(("model", "path", "detail", "alignment"), _optional_text),
            "kind": pa.Column(str, pa.Check.isin(("remove", "add", "replace", "keep"))),
            "answer_kind": pa.Column(str, pa.Check.isin(EDIT_ANSWERS)),
            **dict.fromkeys(("width", "height", "width_asked", "height_asked"), _whole),
            **dict.fromkeys(("seconds", "cost_usd", "error_inside", "psnr_outside", "psnr_outside_aligned"), _number),
            **dict.fromkeys(("ssim_outside", "shift_px", "zoom", "gain", "change_iou", "share_outside"), _number),
            **dict.fromkeys(("lesion_change", "lung_dice", "embedding_similarity"), _number),
        },
        unique=["editor", "task", "image_id"],
    ),
    # 07_segmentation/scores.csv: one row is one case under one model at one threshold.
    "segmentation_scores": pa.DataFrameSchema(
        {
            **dict.fromkeys(("dataset", "case", "group", "model"), _text),
            "role": pa.Column(str, pa.Check.isin(("specialist", "omnimodel", "third", "floor"))),
            "threshold": _count,
            "answer_kind": _text,
            **dict.fromkeys(("dice", "iou"), _unit),
            **dict.fromkeys(("hd95", "hd95_share", "nsd", "dice_shifted", "cldice"), _number),
            "hd95_definition": _optional_text,
            **dict.fromkeys(("empty_truth", "empty_mask"), pa.Column(bool, coerce=True)),
        },
        unique=["dataset", "case", "model", "threshold"],
    ),
    # 07_segmentation/comparison.csv: one row is one selection of cases; a is the specialist, b the omnimodel.
    "segmentation_comparison": pa.DataFrameSchema(
        {
            **dict.fromkeys(("dataset", "selection"), _text),
            "extreme": pa.Column(str, pa.Check.isin(("all", "easy", "hard"))),
            "n": _count,
            **dict.fromkeys(("mean_a", "mean_b"), _unit),
            **dict.fromkeys(("difference", "ci_low", "ci_high", "swap_null", "swap_p"), _number),
        },
        unique=["dataset", "selection", "extreme"],
    ),
}


def check_table(table: pd.DataFrame, kind: str, where: str = "") -> pd.DataFrame:
    """The table with its columns cast, or a `UserError` that names the first column and value at fault.

    `kind` is a key of `SCHEMAS`; more columns than the schema's are welcome.
    """
    if not table.index.is_unique:  # as after a concat; pandera stumbles over it
        table = table.reset_index(drop=True)
    try:
        return SCHEMAS[kind].validate(table)
    except pa.errors.SchemaError as error:
        fault = error
    except pa.errors.SchemaErrors as errors:  # a column that cannot be cast
        fault = errors.schema_errors[0]
    raise UserError(f"{kind} table: {str(fault).splitlines()[0]}", where, "correct the table")


def read_table(path: Path | str, kind: str | None = None) -> pd.DataFrame:
    """Read a CSV table (UTF-8, header, `.` decimals), checked against the schema `kind` when one is named.

    Identifiers stay text: `007` is no number here.
    """
    path = Path(path)
    identifiers = (
        *("image_id", "patient_id", "pair_id", "prompt_id", "case", "path", "original", "sha256"),
        *("arm", "dataset", "source", "group", "subgroup", "label_text", "view", "sex"),
    )
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(identifiers, "str"),
            encoding="utf-8",
            keep_default_na=False,
            na_values=[""],
            low_memory=False,  # a column's type is that of all its rows
        )
    except FileNotFoundError:
        raise UserError("table not found", str(path), "run the stage that writes it") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(
            f"not readable as CSV: {error}", str(path), "correct the file, or run its stage again"
        ) from None
    table = table.assign(**{name: flags(table[name]) for name in FLAGS if name in table})
    return check_table(table, kind, str(path)) if kind else table


def flags(column: pd.Series) -> pd.Series:
    """A column of true and false as bool, however a CSV holds it: `True`, `true`, `1`, `1.0`; empty is false."""
    return column.astype("str").str.lower().isin(("true", "1", "1.0"))


def write_table(table: pd.DataFrame, path: Path | str, kind: str | None = None) -> Path:
    """Write a table as CSV, atomically, checked against the schema `kind` when one is named; returns the path."""
    if kind:
        table = check_table(table, kind, str(path))
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8")
    return Path(path)


def read_listed(path: Path | str, columns: Sequence[str], parameter: str) -> pd.DataFrame:
    """A table of the user's own: every cell is the text that stands there, an empty one is missing; see `read_cells`.

    Parameters
    ----------
    path : path
        CSV.
    columns : sequence of str
        What it must have; `image` stands for a missing `path`.
    parameter : str
        What named the table.

    Raises
    ------
    UserError
        When it is not there, cannot be read, lacks a column, has no row, or a row has no path.
    """
    path, where = Path(path), str(path)
    wanted = ", ".join(columns)
    if path.is_dir():
        raise UserError(f"{parameter} is a folder", where, f"name a CSV file with {wanted}")
    if not path.is_file():
        raise UserError(f"{parameter}: table not found", where, f"name a CSV file with {wanted}")
    table = read_cells(path, columns, {"image": "path"} if "path" in columns else {})
    if table.empty:
        raise UserError("the table is empty", where, f"add rows with {wanted}")
    if "path" in columns and table["path"].isna().any():
        line = table.index[table["path"].isna()][0]
        raise UserError(f"no path in line {line}", where, "name a file, counted from the table's folder")
    return table


def listed_labels(table: pd.DataFrame, where: str) -> pd.Series:
    """Column `label` of a user's table as 0 (normal) or 1 (pneumonia); these words are taken too, in any case.

    Raises
    ------
    UserError
        For any other label, with its line, and when all are the same.
    """
    labels = table["label"].str.strip().str.lower().map(_LABEL_VALUES)
    if labels.isna().any():
        line = table.index[labels.isna()][0]
        given = table["label"].loc[line]
        what = "no label" if pd.isna(given) else f"label {given!r}"
        raise UserError(f"{what} in line {line}", where, "use 0 or 1, or normal or pneumonia")
    if labels.nunique() < 2:
        raise UserError(f"one class only: all are labelled {LABELS[int(labels.iloc[0])]}", where, "both are needed")
    return labels.astype(int)
