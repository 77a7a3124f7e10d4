import numpy as np
import pandas as pd
import pytest

from nbhelpers import metrics
from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.files import write_png
from nbhelpers.runs.tables import write_table
from nbhelpers.validation import baselines


def made_set(tmp_path, n=40, size=224):
    """Films of 2 each for n / 2 patients; pneumonia is brighter, smoother, and filmed AP."""
    generator = np.random.default_rng(0)
    rows, images = [], []
    for number in range(n):
        label = number // 2 % 2
        image = generator.normal(100 + 30 * label, 30 - 20 * label, (size, size)).clip(0, 255).astype(np.uint8)
        write_png(tmp_path / "films" / f"{number}.png", image)
        images.append(image)
        rows.append(
            {
                **{"image_id": str(number), "path": f"{number}.png", "label": label, "patient_id": f"p{number // 2}"},
                **{"view": "AP" if label else "PA", "sex": ("female", "male")[number % 2], "age": 50.0},
            }
        )
    film_set = FilmSet("own", "Own", False, tmp_path / "films", pd.DataFrame(rows))
    return film_set, film_set.kept(), np.stack(images)


def test_statistics_have_their_closed_forms_on_hand_made_images():
    flat = np.full((224, 224), 50, np.uint8)
    ramp = np.repeat(np.arange(224, dtype=np.uint8)[:, None], 224, axis=1)
    stripes = np.zeros((224, 224), np.uint8)
    stripes[::2] = 10
    edge = flat.copy()
    edge[:30] = 250  # outside the window of `gradient`
    found = baselines.image_statistics(np.stack([flat, ramp, stripes, edge]))
    assert found["brightness"].tolist()[:3] == pytest.approx([50, 111.5, 5])
    assert found["contrast"].tolist()[:3] == pytest.approx([0, np.sqrt((224**2 - 1) / 12), 5], abs=1e-4)
    assert found["gradient"].tolist() == pytest.approx([0, 1, 10, 0])
    assert found["gradient_whole"].tolist() == pytest.approx([0, 1, 10, 200 / 223])


def test_statistics_do_not_depend_on_the_block_that_an_image_falls_into():
    images = np.random.default_rng(0).integers(0, 256, (260, 224, 224), dtype=np.uint8)
    whole = baselines.image_statistics(images)
    pd.testing.assert_frame_equal(
        whole.iloc[250:].reset_index(drop=True), baselines.image_statistics(images[250:]), rtol=1e-6
    )


def test_fixed_direction_follows_the_synthetic_images_and_best_way_the_set(tmp_path):
    film_set, films, images = made_set(tmp_path)
    directions = pd.DataFrame({"baseline": list(baselines.STATISTICS), "direction": -1, "synthetic_auroc": 0.4})
    found = baselines.of_set(film_set, films, images, directions)
    label = films["label"]
    assert metrics.auroc(label, found.scores["brightness"]) < 0.05
    assert metrics.auroc(label, found.scores["brightness_best"]) > 0.95
    facts = found.facts.set_index("baseline")
    assert facts.loc["brightness", "kind"] == "fixed" and not facts.loc["brightness", "uses_labels"]
    assert facts.loc["brightness_best", "kind"] == "best way" and facts.loc["brightness_best", "uses_labels"]
    assert facts.loc["thumbnail_trained", "kind"] == "trained" and facts.loc["thumbnail_trained", "uses_labels"]
    assert list(found.scores.columns) == list(found.facts["baseline"])


def test_view_is_a_baseline_where_it_differs_and_constant_metadata_is_none(tmp_path):
    film_set, films, images = made_set(tmp_path)
    none = pd.DataFrame(columns=["baseline", "direction", "synthetic_auroc"])
    found = baselines.of_set(film_set, films, images, none)
    assert metrics.auroc(films["label"], found.scores["view"]) == 1.0
    assert "age" not in found.scores and "sex" in found.scores
    assert "brightness" not in found.scores and "brightness_best" in found.scores


def test_pixel_spacing_enters_the_fit_alone_and_gaps_take_the_median(tmp_path):
    film_set, films, images = made_set(tmp_path)
    films["pixel_spacing"] = np.where(films["label"] == 1, 0.14, 0.17)
    films.loc[0, "pixel_spacing"] = np.nan
    assert baselines.metadata(films)["pixel_spacing"].iloc[0] == pytest.approx(films["pixel_spacing"].median())
    none = pd.DataFrame(columns=["baseline", "direction", "synthetic_auroc"])
    found = baselines.of_set(film_set, films, images, none)
    assert "pixel_spacing" not in found.scores
    title = found.facts.set_index("baseline").loc["metadata_trained", "title"]
    assert title == "view, sex, pixel spacing (trained here)"


def test_direction_is_that_of_the_arms_synthetic_images(tmp_path):
    rows = []
    for number in range(12):
        label = ("normal", "pneumonia")[number % 2]
        # Under one crop pneumonia is the brighter, under the other the darker, and more so.
        for crop, level in (("content", 100 + 20 * (number % 2)), ("none", 100 - 20 * (number % 2))):
            path = f"{crop}/i{number}.png"
            write_png(tmp_path / "02_cropping/simulator" / path, np.full((60, 60), level, np.uint8))
            rows.append(
                {
                    **{"image_id": f"i{number}", "path": path, "label": label, "source": "simulator", "prompt": ""},
                    "simulated": True,
                    **{"model": "", "sha256": "", "width": 60, "height": 60, "status": "ok", "crop": crop},
                    **{"left": 0, "top": 0, "right": 60, "bottom": 60, "reason": ""},
                }
            )
    write_table(pd.DataFrame(rows), tmp_path / "02_cropping/simulator/images.csv", "cropped")
    for crop, sign, area in (("content", 1, 1.0), ("none", -1, 0.0)):
        found = baselines.synthetic_directions({"arm": {"source": "simulator", "crop": crop}}, tmp_path)
        row = found.set_index("baseline").loc["brightness"]
        assert (row["direction"], row["synthetic_auroc"]) == (sign, area)


def test_no_synthetic_images_leave_no_fixed_direction(tmp_path):
    assert baselines.synthetic_directions({"a": {"source": "gemini", "crop": "none"}}, tmp_path).empty


def test_out_of_fold_scores_never_come_from_a_fit_that_saw_the_patient():
    # Patients' features are unique marks that tell nothing of other patients: memory alone would give 1.0.
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    label = np.repeat(generator.integers(0, 2, 60), 4)
    marks = np.repeat(generator.normal(size=(60, 80)), 4, axis=0)
    scores = baselines.out_of_fold(marks, label, groups)
    assert scores is not None and np.isfinite(scores).all()
    assert 0.3 < metrics.auroc(label, scores) < 0.7


def test_out_of_fold_scores_that_know_nothing_are_not_pulled_below_chance():
    # Patients of one to twelve films: folds cannot all have the same prevalence, and a constant feature tells nothing.
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), generator.integers(1, 13, 30))
    label = generator.integers(0, 2, 30)[groups]
    assert metrics.auroc(label, baselines.out_of_fold(np.zeros((len(label), 1)), label, groups)) == pytest.approx(0.5)


def test_out_of_fold_scores_hang_little_on_how_the_films_are_parted():
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 2)
    label = np.repeat(generator.integers(0, 2, 40), 2)
    features = generator.normal(0.3 * label[:, None], 1, (80, 20))
    areas = []
    for seed in range(8):  # other numbers of the same patients part them otherwise
        named = np.random.default_rng(seed).permutation(40)[groups]
        areas.append(metrics.auroc(label, baselines.out_of_fold(features, label, named)))
    assert np.std(areas) < 0.012


def test_out_of_fold_needs_two_patients_of_each_class():
    features = np.zeros((6, 2))
    assert baselines.out_of_fold(features, np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4, 4])) is None


def test_thumbnails_are_area_means():
    image = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    means = image.reshape(16, 14, 16, 14).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(baselines.thumbnails(image[None])[0].reshape(16, 16), means, atol=0.6 / 255)


def test_table_gives_values_of_scikit_learn_with_patient_intervals(tmp_path):
    from sklearn.metrics import average_precision_score, roc_auc_score

    film_set, films, images = made_set(tmp_path)
    none = pd.DataFrame(columns=["baseline", "direction", "synthetic_auroc"])
    found = baselines.of_set(film_set, films, images, none)
    table = baselines.baselines_table("own", found, films, n_resamples=50)
    assert len(table) == 2 * found.scores.shape[1]
    assert set(table["ci_method"]) == {"bootstrap_patient"} and set(table["n_patients"]) == {20}
    for row in table.to_dict("records"):
        oracle = {"auroc": roc_auc_score, "aupr": average_precision_score}[row["metric"]]
        assert row["value"] == pytest.approx(oracle(films["label"], found.scores[row["baseline"]]), abs=1e-12)
        assert row["ci_low"] <= row["ci_high"]
