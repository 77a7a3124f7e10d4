import numpy as np
import pandas as pd
import pytest
from validation.validation_fixture import stage_of

from nbhelpers.errors import UserError
from nbhelpers.films import film_set
from nbhelpers.images.files import write_png
from nbhelpers.networks import models, scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.trained import load_arms
from nbhelpers.runs.tables import check_table
from nbhelpers.validation.scores import checks, decode, predict


@pytest.fixture
def run(tmp_path):
    """A run with one untrained arm and a set of 12 small films of which one is broken."""
    model = models.build("resnet18", "random", 1, seed=0)
    description = models.ModelDescription(
        "resnet18", "random", Transform(32), arm={"name": "cropped", "source": "simulator", "crop": "content"}
    )
    models.save_checkpoint(tmp_path / "03_training/cropped", model, description)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(12):
        image = generator.integers(0, 256, (40, 40), dtype=np.uint8)
        write_png(tmp_path / "films" / f"{number}.png", image)
        rows.append({"image_id": f"f{number}", "path": f"{number}.png", "label": number % 2})
    (tmp_path / "films/3.png").write_bytes(b"broken")
    return tmp_path, {"own": film_set.FilmSet("own", "Own", False, tmp_path / "films", pd.DataFrame(rows))}


def test_scores_cover_every_readable_film_and_are_kept(run, monkeypatch):
    folder, sets = run
    arms = load_arms(["cropped"], stage_of(folder))
    films = decode(sets, arms, cache=folder / "cache")
    predictions = check_table(predict(arms, films, folder, "cpu", 4), "predictions")
    assert len(predictions) == 11 and "f3" not in set(predictions["image_id"])
    assert checks(predictions, films, arms) == ["Own: every readable film was scored by every arm: ok"]
    monkeypatch.setattr(scoring, "predict", None)  # a second call must not score again
    again = predict(arms, films, folder, "cpu", 4)
    pd.testing.assert_frame_equal(again, predictions[list(again)])


def test_scores_equal_those_of_the_plain_network_on_the_same_films(run):
    import torch

    from nbhelpers.images.files import read_gray, resize_gray

    folder, sets = run
    arms = load_arms(["cropped"], stage_of(folder))
    films = decode(sets, arms, cache=folder / "cache")
    scores = predict(arms, films, folder, "cpu", 4).set_index("image_id")["score"]
    image = resize_gray(read_gray(folder / "films/7.png"), 32).astype(np.float32) / 255
    tensor = torch.from_numpy((image - image.mean()) / image.std())[None, None]
    with torch.inference_mode():
        expected = torch.sigmoid(arms["cropped"].model.float()(tensor)).item()
    assert scores["f7"] == pytest.approx(expected, abs=0.03)  # bfloat16 where the processor has it


def test_checks_stop_on_constant_scores_and_missing_films(run):
    folder, sets = run
    arms = load_arms(["cropped"], stage_of(folder))
    films = decode(sets, arms, cache=folder / "cache")
    predictions = predict(arms, films, folder, "cpu", 4)
    with pytest.raises(UserError, match="the same score"):
        checks(predictions.assign(score=0.5), films, arms)
    with pytest.raises(UserError, match="has not scored every film"):
        checks(predictions.iloc[1:], films, arms)
