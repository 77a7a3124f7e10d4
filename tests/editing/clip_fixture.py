"""A tiny CLIP of random weights with a tokenizer of letters, as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def tiny_clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(0)
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = common | {"vocab_size": 60, "max_position_embeddings": 77, "bos_token_id": 58, "eos_token_id": 59}
    config = CLIPConfig(text_config=text, vision_config=common | {"image_size": 32, "patch_size": 8}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    names = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz'-" for end in ("", "</w>")]
    vocabulary = {name: place for place, name in enumerate([*names, "!", "?", "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder
