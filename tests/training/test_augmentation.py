import numpy as np
import pytest
import torch

from nbhelpers.errors import UserError
from nbhelpers.training import augmentation


def gray(n=12, size=48):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1))


def test_augmentation_is_the_same_for_the_same_seed_only():
    images = gray()
    first = augmentation.augment(images, 5)
    torch.testing.assert_close(first, augmentation.augment(images, 5), atol=0, rtol=0)
    assert not torch.equal(first, augmentation.augment(images, 6))
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


def test_masks_move_with_their_images_which_are_augmented_as_without_them():
    images = torch.zeros(16, 1, 48, 48)
    images[:, :, 10:30, 12:36] = 1.0
    films, masks = augmentation.augment_drawn(images, torch.cat([images, 1 - images], 1), 5)
    torch.testing.assert_close(films, augmentation.augment(images, 5), atol=0, rtol=0)
    torch.testing.assert_close(masks[:, :1], augmentation._move(images, torch.Generator().manual_seed(5)))
    torch.testing.assert_close(masks.sum(1), torch.ones(16, 48, 48))
    same, still = augmentation.augment_drawn(images, images, 5, "none")
    assert torch.equal(same, images) and torch.equal(still, images)


def test_augmentation_leaves_its_input_and_the_global_random_state_alone():
    images, state = gray(), torch.get_rng_state()
    before = images.clone()
    augmentation.augment(images, 5)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_augmentation_turns_no_film_over():
    """A bright upper left corner stays in its quadrant, whatever is drawn."""
    images = torch.full((64, 1, 48, 48), 0.3)
    images[:, :, 8:18, 8:18] = 0.9
    moved = augmentation._move(images, torch.Generator().manual_seed(0)).squeeze(1).numpy()
    weight = np.clip(moved - 0.5, 0, None)
    grid = np.arange(48)
    assert ((weight * grid[:, None]).sum((1, 2)) / weight.sum((1, 2))).max() < 24
    assert ((weight * grid).sum((1, 2)) / weight.sum((1, 2))).max() < 24


def test_augmentation_none_changes_nothing_and_an_unknown_one_is_refused():
    images = gray()
    assert augmentation.augment(images, 0, "none") is images
    with pytest.raises(UserError, match="did you mean 'films'"):
        augmentation.augment(images, 0, "film")


def test_every_step_of_a_training_has_a_seed_of_its_own():
    seeds = {augmentation.step_seed(s, e, t) for s in range(3) for e in range(1, 40) for t in range(200)}
    assert len(seeds) == 3 * 39 * 200
