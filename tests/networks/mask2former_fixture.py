"""A Mask2Former of a few thousand random weights, as transformers saves one."""

from __future__ import annotations

from pathlib import Path

import pytest


def mask2former_folder(folder: Path, labels: dict[int, str], processor: bool = True) -> Path:
    """A folder with the network, and its image processor unless told otherwise."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=24, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=5,
        id2label=labels, label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    if processor:
        transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
