import numpy as np
import pandas as pd
import pytest

from nbhelpers.errors import UserError
from nbhelpers.training import splits


def paired(n):
    return pd.DataFrame(
        [
            {"image_id": f"{label[0]}{pair}", "pair_id": str(pair), "label": label}
            for pair in range(n)
            for label in ("normal", "pneumonia")
        ]
    )


def test_no_prompt_pair_is_in_both_parts():
    split = splits.split_groups(paired(50), 0.2, seed=3)
    train = set(split["pair_id"][split["split"] == "train"])
    assert not train & set(split["pair_id"][split["split"] == "validation"])
    assert splits.check_split(split)["shared groups"].eq(0).all()


def test_both_parts_hold_as_many_of_either_class():
    counts = splits.check_split(splits.split_groups(paired(50), 0.2, seed=3)).set_index("split")
    assert counts["pneumonia"].equals(counts["normal"].rename("pneumonia"))
    assert counts.loc["validation", "images"] == 20


def test_the_films_of_a_patient_stay_together_when_there_are_no_pairs():
    table = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(60)],
            "patient_id": [f"p{i // 3}" for i in range(60)],
            "label": ["pneumonia" if i // 3 % 2 else "normal" for i in range(60)],
        }
    )
    split = splits.split_groups(table, 0.25, seed=0)
    assert split.assign(patient=table["patient_id"]).groupby("patient")["split"].nunique().max() == 1


def test_an_empty_pair_id_falls_back_to_the_image():
    table = paired(4).assign(pair_id=[None, "", np.nan, "1"] * 2)
    assert splits.groups_of(table).tolist()[:4] == ["image n0", "image p0", "image n1", "pair 1"]


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_rows():
    table = paired(40)
    first = splits.split_groups(table, 0.2, seed=1).set_index("image_id")["split"]
    shuffled = splits.split_groups(table.sample(frac=1, random_state=0), 0.2, seed=1).set_index("image_id")["split"]
    assert first.equals(shuffled[first.index])
    assert not first.equals(splits.split_groups(table, 0.2, seed=2).set_index("image_id")["split"])


def test_leaving_one_image_out_moves_at_most_one_other_pair():
    table = paired(40)
    whole = splits.split_groups(table, 0.2, seed=1).set_index("image_id")["split"]
    less = splits.split_groups(table.drop(index=7), 0.2, seed=1).set_index("image_id")["split"]
    assert (whole[less.index] != less).sum() <= 4


def test_few_images_still_give_both_classes_in_both_parts():
    counts = splits.check_split(splits.split_groups(paired(2), 0.2, seed=0))
    assert (counts[["pneumonia", "normal"]] > 0).all(axis=None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (paired(5).query("label == 'normal'"), "only one class"),
        (paired(5).iloc[:0], "too few|only one class"),
        (paired(1), "too few"),
    ],
)
def test_one_class_or_too_few_images_are_one_clear_error(table, message):
    with pytest.raises(UserError, match=message):
        splits.split_groups(table, 0.2, seed=0)


@pytest.mark.parametrize("share", [0.0, 0.6, -1.0])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(UserError, match="val_fraction"):
        splits.split_groups(paired(5), share, seed=0)


def test_a_group_in_both_parts_stops_the_run():
    split = splits.split_groups(paired(10), 0.2, seed=0)
    split.loc[0, "split"] = "validation" if split.loc[0, "split"] == "train" else "train"
    with pytest.raises(UserError, match="both parts"):
        splits.check_split(split)


def test_pairs_are_prompt_pairs_normal_first():
    table = paired(6)
    split = splits.split_groups(table, 0.2, seed=0)
    for normal, pneumonia in splits.pairs(split):
        assert split["pair_id"].iloc[normal] == split["pair_id"].iloc[pneumonia]
        assert (split["label"].iloc[normal], split["label"].iloc[pneumonia]) == (0, 1)


def test_pairs_show_every_image_and_repeat_only_the_smaller_class():
    table = pd.concat([paired(3), pd.DataFrame({"image_id": [f"x{i}" for i in range(9)], "label": "pneumonia"})])
    split = splits.split_groups(table.reset_index(drop=True), 0.2, seed=0)
    found = splits.pairs(split)
    assert set(found.reshape(-1).tolist()) == set(range(len(split)))
    counts = pd.Series(found[:, 1]).value_counts()
    assert counts.max() == 1
    repeats = pd.Series(found[:, 0]).value_counts()
    assert repeats.max() - repeats.min() <= 1
