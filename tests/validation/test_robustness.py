import cv2
import numpy as np
import pandas as pd
import pytest

from nbhelpers import metrics, style
from nbhelpers.errors import UserError
from nbhelpers.films import film_set
from nbhelpers.images.files import write_png
from nbhelpers.networks import models, trained
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.validation import figures, robustness
from nbhelpers.validation.scores import Films, decode, predict


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    return cv2.resize(noise, (96, 96), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("change", robustness.CHANGES)
def test_changes_keep_shape_and_dtype_and_grow_with_strength(change, image):
    off = []
    for strength in robustness.STRENGTHS[change]:
        found = robustness.CHANGES[change](image, strength)
        assert found.shape == image.shape and found.dtype == np.uint8
        off.append(np.abs(found.astype(float) - image).mean())
    assert 0 < off[0] < off[1] < off[2]
    # Mild: the weakest change leaves the image what it is.
    assert (
        np.corrcoef(robustness.CHANGES[change](image, robustness.STRENGTHS[change][0]).ravel(), image.ravel())[0, 1]
        > 0.7
    )


def test_contrast_keeps_the_mean_and_scales_the_spread(image):
    found = robustness.contrast(image, 30).astype(float)
    assert found.mean() == pytest.approx(image.mean(), abs=0.5)
    assert found.std() == pytest.approx(0.7 * image.std(), rel=0.02)


def test_crop_takes_the_same_share_off_each_side():
    image = np.zeros((100, 100), np.uint8)
    image[10:90, 10:90] = 200
    assert (robustness.crop(image, 10) == 200).all()
    assert (robustness.crop(image, 6)[0] == 0).all()


def test_blur_equals_opencv_at_the_stated_width(image):
    np.testing.assert_array_equal(robustness.blur(image, 1.0), cv2.GaussianBlur(image, (0, 0), 0.96))


def test_films_are_drawn_at_the_sets_prevalence_and_repeat_with_the_seed():
    label = np.r_[np.zeros(800, int), np.ones(200, int)]
    places = robustness.chosen_films(label, 100, seed=1)
    assert len(places) == len(set(places)) == 100 and label[places].sum() == 20
    np.testing.assert_array_equal(places, robustness.chosen_films(label, 100, seed=1))
    assert len(robustness.chosen_films(label, 5000)) == 1000
    rare = robustness.chosen_films(np.r_[np.zeros(995, int), np.ones(5, int)], 20)
    assert (rare >= 995).sum() == 2
    with pytest.raises(UserError, match="robustness_films"):
        robustness.chosen_films(label, 19)


def test_table_starts_every_curve_at_the_unchanged_films_and_draws(tmp_path):
    model = models.build("resnet18", "random", 1, seed=0)
    arm = trained.Network("cropped", model.eval(), models.ModelDescription("resnet18", "random", Transform(32)))
    generator = np.random.default_rng(0)
    rows = []
    for number in range(24):
        write_png(tmp_path / f"films/{number}.png", generator.integers(0, 256, (40, 40), dtype=np.uint8))
        rows.append({"image_id": str(number), "path": f"{number}.png", "label": number % 2, "patient_id": number // 2})
    sets = {"own": film_set.FilmSet("own", "Own", False, tmp_path / "films", pd.DataFrame(rows))}
    films = decode(sets, {"cropped": arm}, cache=tmp_path / "cache")
    alone = {"own": Films(sets["own"], films["own"].table.assign(patient_id="one"), films["own"].arrays)}
    of_one = robustness.robustness_table({"cropped": arm}, alone, "cpu", 64, count=50, n_resamples=20)
    assert of_one[["ci_low", "ci_high", "drop_low", "drop_high"]].isna().all(axis=None)
    assert of_one["auroc"].notna().all()
    table = robustness.robustness_table({"cropped": arm}, films, "cpu", 64, count=50, n_resamples=20)
    assert len(table) == sum(len(levels) + 1 for levels in robustness.STRENGTHS.values())
    first = table[table["strength"] == 0]
    scores = predict({"cropped": arm}, films, tmp_path, "cpu", 64)
    assert first["auroc"].to_numpy() == pytest.approx(metrics.auroc(scores["label"], scores["score"]), abs=1e-12)
    assert first["auroc"].nunique() == 1 and (first["drop"] == 0).all()  # noqa: PD101
    assert (table["drop"] + table["auroc"]).to_numpy() == pytest.approx(first["auroc"].iloc[0])
    assert list(table.groupby("change", sort=False).groups) == list(robustness.STRENGTHS)
    titles = {"cropped": "cropped (simulated)"}
    shown = robustness.largest_changes(table, sets, titles)
    assert len(shown) == shown["largest change"].nunique() <= 2
    style.use()
    figure = figures.robustness_curves(table, sets, titles)
    assert len(figure.axes) == 5 and all(axis.lines for axis in figure.axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cropped (simulated)"]
    assert "n = 24 films" in figure.get_supxlabel()
