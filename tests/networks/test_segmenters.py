"""Networks that draw masks: they learn, are kept and loaded exactly, and take any size."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from networks.mask2former_fixture import mask2former_folder
from segmentation.segmentation_fixture import disc, photo

from nbhelpers.errors import UserError
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import segmenters
from nbhelpers.runs.devices import pick_device


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


def test_a_networks_own_sigmoid_is_not_applied_twice_and_classes_are_not_guessed_at(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    image, maps = photo(), []
    for ending in (None, "sigmoid"):
        torch.manual_seed(0)
        smp.FPN("tu-test_resnet", encoder_weights=None, activation=ending).save_pretrained(str(tmp_path / str(ending)))
        maps.append(next(segmenters.load(tmp_path / str(ending), 64).predict([image], "cpu")))
    assert (maps[0] == maps[1]).all()
    for number, given in enumerate(({"classes": 2}, {"in_channels": 4}, {"activation": "tanh"})):
        smp.FPN("tu-test_resnet", encoder_weights=None, **given).save_pretrained(str(tmp_path / str(number)))
        with pytest.raises(UserError, match="bring one of 1 class"):
            segmenters.load(tmp_path / str(number))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_broken_files_of_a_network_are_one_clear_error(tmp_path: Path, name: str) -> None:
    segmenters.build("small_unet").save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:40])
    with pytest.raises(UserError, match=str(tmp_path)):
        segmenters.load(tmp_path)


def test_what_cannot_be_built_or_loaded_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'small_unet'"):
        segmenters.build("smal_unet")
    with pytest.raises(UserError, match="no_such"):
        segmenters.build("fpn/no_such_encoder")
    with pytest.raises(UserError, match="no segmentation network"):
        segmenters.load(tmp_path)
    with pytest.raises(UserError, match="no training image"):
        segmenters.fit(segmenters.build("small_unet"), [], [], segmenters.FitSettings())


def queries(labels: int, shape: tuple[int, int] = (16, 16), seed: int = 0) -> SimpleNamespace:
    """What a Mask2Former with six queries might give: smooth masks, and queries that are sure of a label or of none."""
    rng = np.random.default_rng(seed)
    masks = np.stack([cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 2) * 40 for _ in range(6)])
    return SimpleNamespace(
        class_queries_logits=torch.from_numpy(rng.normal(size=(1, 6, labels + 1)) * 3).float(),
        masks_queries_logits=torch.from_numpy(masks[None]).float(),
    )


@pytest.mark.parametrize("labels", [{0: "background", 1: "polyp"}, {0: "Polyps", 1: "tool", 2: "background"}])
def test_a_mask2formers_map_cuts_where_transformers_own_post_processing_does(labels: dict[int, str]) -> None:
    transformers = pytest.importorskip("transformers")
    processor = transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64})
    drawn, others = segmenters._labels(labels, "polyp", "")
    assert [labels[number].lower().rstrip("s") for number in drawn] == ["polyp"]
    shares_of_image = []
    for seed in range(6):
        out, image = queries(len(labels), seed=seed), photo(shape=(90, 120), seed=seed)
        shares = segmenters._queried(lambda out=out, **_: out, processor, image, drawn, others, pick_device("cpu"))
        wanted = processor.post_process_semantic_segmentation(out, [(90, 120)])[0].numpy() == drawn[0]
        assert ((shares > 127) == wanted).mean() > 0.97
        shares_of_image.append(wanted.mean())
    assert 0.1 < np.mean(shares_of_image) < 0.9


def test_what_an_image_processor_pads_is_cut_off_and_the_best_mask_of_an_instance_counts() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"size": {"height": 64, "width": 64}, "pad_size": {"height": 64, "width": 128}}
    out = queries(1, (16, 32))
    out.class_queries_logits[..., 0], out.masks_queries_logits[:] = 0, -20  # sure of the label by a half, of no mask
    out.masks_queries_logits[0, 3, :, :8] = 20  # the left half of what is no padding
    out.class_queries_logits[0, :, 1], out.class_queries_logits[0, 3, 1] = 0, -20
    processor = transformers.Mask2FormerImageProcessor(**sizes)
    image = photo(shape=(60, 120))
    shares = segmenters._queried(lambda **_: out, processor, image, [0], [], pick_device("cpu"))
    assert shares.shape == (60, 120) and (shares[:, :54] > 250).all() and (shares[:, 66:] < 5).all()


def test_a_mask2former_is_read_from_a_folder(tmp_path: Path) -> None:
    folder = mask2former_folder(tmp_path, {0: "LABEL_0"})
    assert next(segmenters.mask2former(folder, [photo(shape=(60, 120))], "lesion", "cpu")).shape == (60, 120)


@pytest.mark.parametrize(
    ("labels", "processor", "told"),
    [
        ({0: "cat", 1: "dog", 2: "background"}, True, "which of its 3 labels is the polyp"),
        ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, True, "which of its 3 labels"),
        ({0: "background", 1: "polyp"}, False, "cannot be loaded"),
    ],
)
def test_a_mask2former_that_must_be_guessed_at_is_refused(tmp_path: Path, labels, processor: bool, told: str) -> None:
    folder = mask2former_folder(tmp_path, labels, processor)
    with pytest.raises(UserError, match=told):
        segmenters.mask2former(folder, [], "polyp", "cpu")


def test_a_folder_of_another_network_or_without_all_weights_is_no_mask2former(tmp_path: Path) -> None:
    folder = mask2former_folder(tmp_path, {0: "background", 1: "polyp"})
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights.pop("class_predictor.bias")
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"no weights for class_predictor\.bias"):
        segmenters.mask2former(folder, [], "polyp", "cpu")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "maskformer"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="cannot be loaded"):
        segmenters.mask2former(folder, [], "polyp", "cpu")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{")
        with pytest.raises(UserError, match="cannot be loaded"):
            segmenters.mask2former(folder, [], "polyp", "cpu")
