"""Networks that draw masks: they learn, are kept and loaded exactly, and take any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from segmentation.segmentation_fixture import disc, photo

from nbhelpers.errors import UserError
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import segmenters


def examples(count: int, side: int = 64) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    images, masks = [], []
    for number in range(count):
        mask = disc(side, tuple(rng.integers(20, side - 20, 2)), int(rng.integers(8, 16)))
        image = (photo(side, number) * 0.4).astype(np.uint8)
        image[mask] += 120
        images.append(image)
        masks.append(mask)
    return images, masks


def test_a_small_network_learns_bright_discs_and_is_the_same_after_loading(tmp_path: Path) -> None:
    images, masks = examples(24)
    found = segmenters.build("small_unet", "rgb", 64, seed=1)
    segmenters.fit(
        found, images[:16], masks[:16], segmenters.FitSettings(epochs=12, batch_size=4), seed=1, device="cpu"
    )
    maps = list(found.predict(images[16:], "cpu"))
    assert np.mean([dice(shares > 127, mask) for shares, mask in zip(maps, masks[16:], strict=True)]) > 0.8
    found.save(tmp_path / "n")
    again = list(segmenters.load(tmp_path / "n").predict(images[16:], "cpu"))
    assert all((a == b).all() for a, b in zip(maps, again, strict=True))


def test_the_same_seed_gives_the_same_network_and_another_does_not() -> None:
    images, masks = examples(4)
    settings = segmenters.FitSettings(epochs=1, batch_size=2)
    maps = []
    for seed in (1, 1, 2):
        found = segmenters.build("small_unet", "gray", 64, seed)
        segmenters.fit(found, images, masks, settings, seed, "cpu")
        maps.append(next(iter(found.predict(images, "cpu"))))
    assert (maps[0] == maps[1]).all() and (maps[0] != maps[2]).any()


def test_crops_train_a_network_that_sees_images_in_their_own_size() -> None:
    images, masks = examples(3, 90)
    found = segmenters.build("fine_unet", "green", 0, 0)
    settings = segmenters.FitSettings(epochs=1, batch_size=4, crop=48, crops_per_image=4)
    segmenters.fit(found, images, masks, settings, 0, "cpu")
    assert next(iter(found.predict([photo(shape=(71, 90))], "cpu"))).shape == (71, 90)
    assert sum(p.numel() for p in found.model.parameters()) < 120_000


@pytest.mark.parametrize("shape", [(64, 64), (50, 83)])
def test_smp_networks_are_built_kept_and_loaded_by_both_ways(tmp_path: Path, shape: tuple[int, int]) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    found = segmenters.build("fpn/tu-test_resnet", "rgb", 64, 0)
    found.model.eval()
    image = photo(shape=shape)
    shares = next(iter(found.predict([image], "cpu")))
    assert shares.shape == shape
    found.save(tmp_path / "own")
    assert (next(iter(segmenters.load(tmp_path / "own").predict([image], "cpu"))) == shares).all()
    found.model.save_pretrained(str(tmp_path / "smp"))
    loaded = segmenters.load(tmp_path / "smp", size=64)
    assert loaded.description["normalise"] == "imagenet" and loaded.description["colour"] == "rgb"
    reference = smp.from_pretrained(str(tmp_path / "smp")).eval()
    scaled = torch.from_numpy(segmenters.prepared(image, "rgb", 64))[None].float() / 255
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        wanted = torch.sigmoid(reference((scaled - mean[:, None, None]) / spread[:, None, None]))[0, 0].numpy()
    if shape == (64, 64):
        given = next(iter(loaded.predict([image], segmenters.Device("cpu", None))))
        assert np.abs(given / 255 - wanted).max() < 0.01


def test_what_cannot_be_built_or_loaded_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'small_unet'"):
        segmenters.build("smal_unet")
    with pytest.raises(UserError, match="no_such"):
        segmenters.build("fpn/no_such_encoder")
    with pytest.raises(UserError, match="no segmentation network"):
        segmenters.load(tmp_path)
    with pytest.raises(UserError, match="no training image"):
        segmenters.fit(segmenters.build("small_unet"), [], [], segmenters.FitSettings())
