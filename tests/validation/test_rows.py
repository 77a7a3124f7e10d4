import pandas as pd

from nbhelpers.metrics import Interval
from nbhelpers.runs.tables import check_table
from nbhelpers.validation import rows

ABOUT = {"arm": "cropped", "dataset": "kermany", "subgroup": "all"}


def films(patients):
    return pd.DataFrame({"label": [0, 1, 1, 1], "patient_id": patients})


def test_a_row_has_the_columns_of_metrics_csv_in_their_order_and_more_behind_them():
    row = rows.metric_row(ABOUT, "auroc", films(list("aabb")), Interval(0.8, 0.7, 0.9), "delong", primary=False)
    assert list(row) == [*rows.COLUMNS, "ci_method", "primary"]
    assert (row["n"], row["n_patients"], row["prevalence"], row["ci_low"]) == (4, 2, 0.75, 0.7)
    check_table(pd.DataFrame([row]), "metrics")


def test_patients_that_are_unknown_are_not_counted_as_none():
    row = rows.metric_row(ABOUT, "auroc", films([None] * 4), Interval(0.8, 0.7, 0.9), "wilson")
    assert row["n_patients"] is None and row["n"] == 4
