import numpy as np
import pytest

from nbhelpers.errors import UserError
from nbhelpers.training.schedule import Settings, epoch_batches, learning_rate_at


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    settings = Settings(epochs=10, warmup_epochs=2, learning_rate=1.0)
    rates = [learning_rate_at(t / 10, settings) for t in range(101)]
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)
    assert rates[20] == pytest.approx(1)
    assert rates[60] == pytest.approx(0.505)
    assert rates[100] == pytest.approx(0.01)


def test_an_epoch_shows_every_couple_once_in_whole_pairs():
    pairs = np.arange(46).reshape(-1, 2)
    batches = epoch_batches(pairs, 8, seed=0, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(46))
    assert {len(batch) for batch in batches} <= {6, 8}
    assert all((batch[::2] + 1 == batch[1::2]).all() for batch in batches)
    assert not np.array_equal(np.concatenate(batches), np.concatenate(epoch_batches(pairs, 8, 0, 2)))


@pytest.mark.parametrize("images", [4, 10, 22, 24, 26, 100])
def test_few_images_are_shown_again_until_the_epoch_has_shown_enough(images):
    pairs = np.arange(images).reshape(-1, 2)
    batches = epoch_batches(pairs, 4, 0, 1, images_per_epoch=25)
    shown = np.concatenate(batches)
    assert len(shown) == max(26, images)  # whole pairs
    assert len(batches) == round(max(26, images) / 4)  # as many steps, however few images there are
    for start in range(0, len(shown) - images + 1, images):
        assert sorted(shown[start : start + images].tolist()) == list(range(images))
    assert (shown[::2] + 1 == shown[1::2]).all()
    if images >= 26:
        once = epoch_batches(pairs, 4, 0, 1)
        assert all(np.array_equal(*both) for both in zip(once, batches, strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0}, {"augmentation": "film"}, {"patience": -1}),
        {"images_per_epoch": -1},
    ],
)
def test_settings_that_cannot_be_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Settings(**wrong)
