"""The prompt design: balanced over attributes, matched between classes, worded from a file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score

from nbhelpers.errors import UserError
from nbhelpers.prompting import prompts

TEMPLATES = prompts.load_templates()
SIZES = (1, 2, 3, 7, 50, 301)


def make(count: int, seed: int = 0) -> pd.DataFrame:
    return prompts.design(count, seed, TEMPLATES)


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_both_images_of_a_pair_share_every_attribute_but_the_disease(count: int, seed: int) -> None:
    table = make(count, seed)
    pneumonia = table[table["label"] == "pneumonia"].set_index("pair_id")
    normal = table[table["label"] == "normal"].set_index("pair_id")
    shared = [*prompts.NUISANCE, "pair_seed"]
    assert len(pneumonia) == len(normal) == count
    pd.testing.assert_frame_equal(pneumonia[shared].sort_index(), normal[shared].sort_index())


@pytest.mark.parametrize("count", SIZES)
def test_no_attribute_that_is_not_the_disease_predicts_the_label(count: int) -> None:
    table = make(count)
    label = table["label"] == "pneumonia"
    for name in prompts.NUISANCE:
        codes = pd.Series(pd.factorize(table[name])[0])
        assert roc_auc_score(label, codes) == pytest.approx(0.5, abs=1e-12), name
    assert "ok" in prompts.check_matched(table)
    assert prompts.matching_table(table)["matched"].all()


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("name", ["sex", "age_group", "view", "habitus", "exposure", "template"])
def test_levels_differ_by_one_at_most_over_any_number_of_pairs(count: int, name: str) -> None:
    levels = TEMPLATES.scenes if name == "template" else prompts.LEVELS[name]
    pneumonia = make(count, 3).query("label == 'pneumonia'")
    counts = pneumonia[name].value_counts().reindex(list(levels), fill_value=0)
    # Views are dealt in decks of four, two of them PA.
    assert counts.max() - counts.min() <= (2 if name == "view" else 1)


def test_the_disease_is_balanced_over_pattern_and_extent_and_empty_for_normal() -> None:
    table = make(90)
    pneumonia, normal = table[table["label"] == "pneumonia"], table[table["label"] == "normal"]
    assert set(pneumonia["pattern"].value_counts()) == {30} and set(pneumonia["extent"].value_counts()) == {30}
    assert (normal[list(prompts.DISEASE)] == "").all().all()
    assert (pneumonia[list(prompts.DISEASE)] != "").all().all()


def test_what_a_radiologist_would_not_expect_is_not_asked_for() -> None:
    table = make(3000)
    pa = table["view"] == "PA"
    assert (table.loc[pa, "position"] == "erect").all()
    worn = table["devices"].str.split(";")
    assert worn.map(lambda names: names == sorted(names)).all(), "a set has one spelling"
    assert worn.map(lambda names: set(names) <= set(prompts.LEVELS["devices"])).all()
    tube = worn.map(lambda names: "endotracheal_tube" in names)
    assert tube.any() and (table.loc[tube, "position"] == "supine").all(), "the intubated lie down"
    pacemaker = worn.map(lambda names: "pacemaker" in names)
    assert pacemaker.any() and (table.loc[pacemaker, "age_group"] != "child").all()
    assert not ((table["side"] == "left") & (table["lobe"] == "middle")).any(), "the left lung has no middle lobe"
    interstitial = table["pattern"] == "interstitial"
    assert (table.loc[interstitial, "side"] == "both").all()
    for group, (low, high) in prompts.AGES.items():
        ages = table.loc[table["age_group"] == group, "age"]
        assert ages.between(low, high - 1).all() and ages.nunique() > 10


def test_attributes_are_hardly_associated_with_each_other() -> None:
    table = make(2000).query("label == 'pneumonia'")
    names = ("sex", "age_group", "view", "habitus", "exposure", "template", "pattern", "extent")
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            counts = pd.crosstab(table[first], table[second]).to_numpy()
            association = np.sqrt(chi2_contingency(counts, correction=False).statistic / counts.sum())
            assert association < 0.09, (first, second)


def test_the_same_seed_gives_the_same_table_and_another_seed_another() -> None:
    pd.testing.assert_frame_equal(make(40, 5), make(40, 5))
    assert not make(40, 5)["prompt"].equals(make(40, 6)["prompt"])


def test_a_raised_number_keeps_the_images_that_are_drawn_already() -> None:
    small, large = make(37), make(400)
    pd.testing.assert_frame_equal(small, large.head(len(small)))


def test_identifiers_and_seeds_come_once_and_fit_31_bits() -> None:
    table = make(8000)
    assert table["image_id"].is_unique and table["seed"].is_unique
    assert table.drop_duplicates("pair_id")["pair_seed"].is_unique
    assert table[["seed", "pair_seed"]].to_numpy().min() >= 0
    assert table[["seed", "pair_seed"]].to_numpy().max() < 2**31


def test_an_identifier_changes_with_its_row(tmp_path: Path) -> None:
    values = yaml.safe_load(prompts.PACKAGED_TEMPLATES.read_text(encoding="utf-8"))
    values["phrases"]["exposure"]["under"] = "It is a little dark."
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    before, after = make(30), prompts.design(30, 0, prompts.load_templates(path))
    changed = before["exposure"] == "under"
    assert (before["image_id"] != after["image_id"]).equals(changed)


def test_16000_rows_take_seconds() -> None:
    started = time.perf_counter()
    prompts.check_matched(make(8000))
    assert time.perf_counter() - started < 20  # about 2 s on an idle core


def test_a_prompt_says_what_its_row_says() -> None:
    for row in make(60).to_dict("records"):
        text = row["prompt"]
        assert "{" not in text and "\n" not in text and "  " not in text
        assert str(row["age"]) in text and f"({row['view']})" in text.replace(f"({row['view']}),", f"({row['view']})")
        assert row["position"] in text and TEMPLATES.phrases["exposure"][row["exposure"]] in text
        for device in row["devices"].split(";"):
            assert TEMPLATES.phrases["devices"][device] in text
        if row["label"] == "pneumonia":
            assert "neumonia" in text and TEMPLATES.phrases["location"][f"{row['side']} {row['lobe']}"] in text
        else:
            assert "neumonia" not in text


def test_the_two_prompts_of_a_pair_differ_in_the_finding_alone() -> None:
    table = make(24)
    for _, pair in table.groupby("pair_id"):
        rows = {row["label"]: row for row in pair.to_dict("records")}
        texts = []
        for label, row in rows.items():
            finding = TEMPLATES.findings[label][row["finding_template"]].format(
                pattern=TEMPLATES.phrases["pattern"].get(row["pattern"]),
                location=TEMPLATES.phrases["location"].get(f"{row['side']} {row['lobe']}"),
                extent=TEMPLATES.phrases["extent"].get(row["extent"]),
            )
            assert " ".join(finding.split()) in row["prompt"]
            texts.append(row["prompt"].replace(" ".join(finding.split()), "*"))
        assert texts[0] == texts[1]


def test_every_wording_of_every_label_is_used() -> None:
    table = make(48)
    assert set(table["template"]) == set(TEMPLATES.scenes)
    for label, findings in TEMPLATES.findings.items():
        assert set(table.loc[table["label"] == label, "finding_template"]) == set(findings)
    shown = prompts.example_text(table, pairs=3)
    assert shown.count("wording") == 6


def test_a_design_that_is_not_matched_is_found_out_and_named() -> None:
    table = make(40)
    table.loc[table["label"] == "pneumonia", "view"] = "AP"
    with pytest.raises(UserError, match="view"):
        prompts.check_matched(table)
    row = prompts.matching_table(table).set_index("attribute").loc["view"]
    assert row["auroc"] == pytest.approx(0.75) and not row["matched"]
    # A 2 x 2 table of 40 + 0 against 20 + 20: V = sqrt(chi2 / n).
    assert row["effect"] == pytest.approx(np.sqrt(chi2_contingency([[40, 20], [0, 20]], correction=False)[0] / 80))


def test_an_age_shift_shows_as_a_standardised_difference() -> None:
    table = make(200)
    shifted = table["label"] == "pneumonia"
    ages = table["age"].astype(float)
    table["age"] = ages + 10.0 * shifted
    spread = ages[~shifted].std(ddof=0)
    row = prompts.matching_table(table).set_index("attribute").loc["age"]
    assert row["effect"] == pytest.approx(10 / spread) and row["auroc"] > 0.5


def test_the_balance_table_counts_each_level_of_each_class() -> None:
    table = make(30)
    balance = prompts.balance_table(table).set_index(["attribute", "level"])
    assert balance.loc[("sex", "female"), "pneumonia"] == 15 == balance.loc[("sex", "female"), "normal"]
    assert balance.loc[("pattern", "lobar"), "normal"] == 0
    tubes = table["devices"].str.contains("endotracheal_tube") & (table["label"] == "normal")
    assert balance.loc[("devices", "endotracheal_tube"), "normal"] == tubes.sum()


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-3, 0), (5, -1)])
def test_impossible_numbers_are_refused(count: int, seed: int) -> None:
    with pytest.raises(UserError):
        make(count, seed)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda v: v.pop("phrases"), "missing section: phrases"),
        (lambda v: v.update(scene={}), "unknown section: 'scene' .* did you mean 'scenes'"),
        (lambda v: v["scenes"].update(bad="{view} only"), "scenes.bad leaves out"),
        (lambda v: v["scenes"].update(request=v["scenes"]["request"] + " {weight}"), r"unknown placeholder \{weight\}"),
        (lambda v: v["scenes"].update(request=v["scenes"]["request"] + " {"), "scenes.request"),
        (lambda v: v["scenes"].clear(), "scenes needs one or more"),
        (lambda v: v["findings"].pop("normal"), "missing label in findings: normal"),
        (lambda v: v["findings"]["normal"].update(x="clear {extent}"), r"unknown placeholder \{extent\}"),
        (lambda v: v["findings"]["pneumonia"].update(x="{pattern}"), r"leaves out \{extent\} \{location\}"),
        (lambda v: v["phrases"]["view"].pop("AP"), "missing level in phrases.view: AP"),
        (lambda v: v["phrases"]["view"].update(LL="lateral"), "unknown level in phrases.view: 'LL'"),
        (lambda v: v["phrases"]["devices"].update(visible="some"), r"leaves out \{list\}"),
    ],
)
def test_each_mistake_in_a_template_file_is_named(tmp_path: Path, edit: object, told: str) -> None:
    values = yaml.safe_load(prompts.PACKAGED_TEMPLATES.read_text(encoding="utf-8"))
    edit(values)  # type: ignore[operator]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match=told) as caught:
        prompts.load_templates(path)
    assert "mine.yaml" in str(caught.value)


def test_a_missing_or_broken_template_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        prompts.load_templates(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("scenes: [", encoding="utf-8")
    with pytest.raises(UserError, match="YAML"):
        prompts.load_templates(tmp_path / "broken.yaml")
