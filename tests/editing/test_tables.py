from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

from nbhelpers.editing import tables
from nbhelpers.runs.tables import write_table


def edits(n=6, **editors):
    """A row an edit: two tasks of two kinds on `n` pictures; each editor's error inside, outside 10 dB apart."""
    rng = np.random.default_rng(0)
    rows = []
    for name, error in editors.items():
        for task, kind in (("a", "remove"), ("b", "add")):
            for place in range(n):
                row = {
                    "editor": name,
                    "task": task,
                    "kind": kind,
                    "image_id": f"p{place}",
                    "edit_id": f"{task}_p{place}",
                }
                row |= {"answer_kind": "edited", "detail": None, "error_inside": error + rng.normal(0, 0.1)}
                row |= {"psnr_outside": np.inf if error == 0 else 40.0, "psnr_outside_aligned": 40.0, "cost_usd": 0.1}
                row |= dict.fromkeys(("ssim_outside", "change_iou", "share_outside", "lesion_change", "lung_dice"), 0.5)
                row |= {"shift_px": 0.0, "zoom": 1.0, "gain": 1.0}
                rows.append(row | {"embedding_similarity": 0.9, "seconds": 1.0, "error_untouched": 50.0})
    return pd.DataFrame(rows)


def test_an_error_of_no_level_is_zero_where_its_psnr_is_infinite():
    table = tables.with_errors(edits(a=0.0, b=5.0))
    assert table.loc[table["editor"] == "a", "error_outside"].eq(0).all()
    assert table.loc[table["editor"] == "b", "error_outside"].to_numpy() == pytest.approx(2.55)


def test_means_are_of_what_came_and_say_of_how_many_and_what_is_missing_counts_as_untouched():
    table = edits(a=10.0, b=10.0)
    lost = [0, 1, 2]
    table.loc[lost, ["error_inside", "psnr_outside", "psnr_outside_aligned", "ssim_outside"]] = np.nan
    table.loc[lost, "answer_kind"] = ["refused", "text_only", "broken"]
    withdrawn = edits(gone=1.0).assign(answer_kind="no_answer", error_inside=np.nan, psnr_outside=np.nan)
    asked = tables.with_errors(pd.concat([table, withdrawn])).groupby("editor")["error_inside_all"].count()
    assert asked.to_dict() == {"a": 12, "b": 12, "gone": 0}, "who was never asked is not counted as having done nothing"
    overall = tables.overall_table(table, 200, 0)
    row = overall[(overall["editor"] == "a") & (overall["kind"] == "all")].iloc[0]
    assert (row["n"], row["n_came"], row["error_inside_n"], row["error_inside_all_n"]) == (12, 9, 9, 12)
    assert row["error_inside"] == pytest.approx(10, abs=0.2)
    assert row["error_inside_all"] == pytest.approx((9 * 10 + 3 * 50) / 12, abs=0.2)
    assert row["cost_usd"] == pytest.approx(1.2)
    inside = tables.shown(overall, "inside").set_index(["editor", "task"])
    assert "n = 9" in inside.loc[("a", "all"), "error inside (grey levels)"]


def test_intervals_hold_the_mean_and_a_single_picture_has_none():
    overall = tables.overall_table(edits(a=10.0, b=3.0), 500, 0)
    assert (overall["error_inside_low"] < overall["error_inside"]).all()
    assert (overall["error_inside"] < overall["error_inside_high"]).all()
    alone = tables.overall_table(edits(1, a=10.0, b=3.0), 500, 0)
    assert alone["error_inside_low"].isna().all() and alone["error_inside"].notna().all()
    table = edits(a=10.0)
    table.loc[table["image_id"] != "p0", "change_iou"] = np.nan
    one_known = tables.overall_table(table, 500, 0)
    assert one_known["change_iou_low"].isna().all() and one_known["error_inside_low"].notna().all()


def test_one_image_has_a_difference_without_an_interval_and_p_is_1():
    found = tables.differences_table(edits(1, a=0.0, b=80.0), 100, 0)
    assert (found["p"] == 1).all() and found["ci_low"].isna().all() and found["difference"].notna().all()


def test_differences_are_paired_and_their_p_is_that_of_a_permutation_test():
    rng = np.random.default_rng(3)
    table = edits(a=10.0, b=10.0)
    table.loc[table["editor"] == "a", "error_inside"] += rng.normal(0.5, 1, 12)
    found = tables.differences_table(table, 500, 0)
    row = found[(found["kind"] == "remove") & (found["measure"] == "error_inside_all")].iloc[0]
    wide = table[table["kind"] == "remove"].pivot_table(index="image_id", columns="editor", values="error_inside")
    expected = permutation_test(
        (wide["a"], wide["b"]), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert row["difference"] == pytest.approx((wide["a"] - wide["b"]).mean())
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["ci_low"] < row["difference"] < row["ci_high"] and row["n"] == row["pictures"] == 6
    assert (found["p_holm"] >= found["p"]).all()


def test_a_single_editor_has_no_difference_and_its_table_a_header(tmp_path):
    found = tables.differences_table(edits(4, a=0.0), 100, 0)
    assert found.empty and "p_holm" in found and tables.differences(found).empty
    assert "p_holm" in pd.read_csv(write_table(found, tmp_path / "differences.csv"))


def test_four_pictures_cannot_give_a_small_p():
    found = tables.differences_table(edits(4, a=0.0, b=80.0), 100, 0)
    assert found["p"].min() == pytest.approx(2 / 2**4)


def test_many_pictures_are_exchanged_at_random():
    found = tables.differences_table(edits(20, a=0.0, b=80.0), 100, 0)
    assert found["p"].min() == pytest.approx(1 / 4097)


def test_answers_are_counted_by_kind_with_a_reason():
    table = edits(a=1.0, b=1.0)
    table.loc[:2, "answer_kind"], table.loc[1, "detail"] = "refused", "IMAGE_SAFETY"
    counted = tables.answers_table(table)
    assert counted["edits"].sum() == len(table)
    refused = counted[counted["answer_kind"] == "refused"].iloc[0]
    assert (refused["editor"], refused["edits"], refused["reason"]) == ("a", 3, "IMAGE_SAFETY")


def test_means_are_by_task_by_kind_and_over_all():
    table = edits(a=10.0)
    table.loc[table["task"] == "b", "error_inside"] += 20
    overall = tables.overall_table(pd.concat([table, table.assign(task="c")]), 100, 0).set_index(["kind", "task"])
    assert list(overall.index[:4]) == [("remove", "a"), ("add", "b"), ("remove", "c"), ("add", "c")]
    assert overall.loc[("add", "all"), "error_inside"] == pytest.approx(30, abs=0.2)
    assert overall.loc[("all", "all"), "error_inside"] == pytest.approx(20, abs=0.2)
    assert tables.by_task(overall.reset_index())["task"].tolist() == ["a", "b", "c"]


def test_what_a_reader_sees_has_a_row_an_editor_and_no_nan():
    overall = tables.overall_table(edits(a=10.0, b=3.0), 100, 0)
    for shown in (tables.shown(overall, "inside"), tables.shown(overall, "outside"), tables.shown(overall, "anatomy")):
        assert not shown.astype(str).apply(lambda column: column.str.contains("nan")).any().any()
    assert tables.shown(overall, "anatomy")["editor"].tolist() == ["a", "b"]
    assert len(tables.differences(tables.differences_table(edits(a=1.0, b=2.0), 100, 0))) == 2


def test_editors_that_were_asked_for_different_edits_stop_the_run():
    table = edits(a=10.0, b=3.0)
    assert "12 edits: ok" in tables.checks(table, ["a", "b"])[0]
    with pytest.raises(AssertionError):
        tables.checks(table.iloc[:-1], ["a", "b"])
