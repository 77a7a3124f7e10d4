import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.prompting import drawing, prompts
from nbhelpers.prompting.sources.roentgen import RoentgenPipeline, roentgen_prompt, roentgen_source
from nbhelpers.prompting.sources.roentgen_set import RoentgenImport, classify


def image_bytes(seed, kind="PNG", size=16):
    values = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def row(**changed):
    return {
        "age": 50,
        "sex": "female",
        "label": "normal",
        "view": "PA",
        "position": "erect",
        "devices": "none",
        "habitus": "average",
        "exposure": "normal",
        "pattern": "",
        "side": "",
        "lobe": "",
        "extent": "",
    } | changed


# wording


def test_prompt_is_in_the_models_own_wording():
    assert roentgen_prompt(row()) == "50 year old female. Normal chest radiograph. PA view."
    told = roentgen_prompt(
        row(age=7, sex="male", label="pneumonia", pattern="lobar", side="right", lobe="lower", extent="severe")
        | {"view": "AP", "position": "supine", "devices": "ecg_leads;endotracheal_tube", "habitus": "large"}
    )
    assert told == (
        "7 year old male. Severe lobar consolidation in the right lung, lower zone, consistent with pneumonia. "
        "AP view, supine. ECG leads, endotracheal tube in place. Large body habitus."
    )


def test_every_row_of_a_design_has_a_prompt_that_the_text_encoder_can_read():
    design = prompts.design(60, 0, prompts.load_templates(None))
    told = [roentgen_prompt(item) for item in design.to_dict("records")]
    # A word is two tokens at most here, and 77 is the limit.
    assert max(len(text.split()) for text in told) < 38 and not any("nan" in text.split() for text in told)
    assert all(
        ("pneumonia" in text) == (label == "pneumonia") for text, label in zip(told, design["label"], strict=True)
    )


# pipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A Stable Diffusion pipeline of a few thousand random weights, saved to disk."""
    diffusers = pytest.importorskip("diffusers", reason="the optional group 'roentgen' is not installed")
    transformers = pytest.importorskip("transformers", reason="the optional group 'roentgen' is not installed")
    import torch

    folder = tmp_path_factory.mktemp("tiny")
    # Threads cost more than they bring at this size.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=8,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=8,
            intermediate_size=8,
            num_attention_heads=2,
            num_hidden_layers=1,
            vocab_size=600,
            bos_token_id=512,
            eos_token_id=513,
        )
    )
    # The alphabet of CLIP's tokenizer, without a merge: bytes, then the same at a word's end.
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    vocabulary = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    words = folder / "words"
    words.mkdir()
    (words / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77)
    pipeline = diffusers.StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        scheduler=diffusers.DDIMScheduler(num_train_timesteps=10, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    yield folder / "model"
    torch.set_num_threads(threads)


def pipeline_source(model, **parameters):
    return roentgen_source(
        "roentgen_v2",
        {"roentgen_model": str(model), "roentgen_steps": 2, "roentgen_size": 16, "device": "cpu"}
        | {f"roentgen_{name}": value for name, value in parameters.items()},
    )


@pytest.fixture(scope="module")
def design():
    return prompts.design(3, 0, prompts.load_templates(None))


def test_pipeline_draws_a_design_and_a_second_run_draws_nothing(tiny, design, tmp_path, monkeypatch):
    images = drawing.draw_images(pipeline_source(tiny), design, tmp_path)
    assert (images["status"] == "ok").all() and set(images["width"]) == {16}
    assert images["prompt"].tolist() == [roentgen_prompt(item) for item in design.to_dict("records")]
    assert images["sha256"].nunique() == 6
    monkeypatch.setattr(RoentgenPipeline, "_load", lambda self: pytest.fail("the pipeline was loaded again"))
    again = drawing.draw_images(pipeline_source(tiny), design, tmp_path)
    assert again["sha256"].tolist() == images["sha256"].tolist()


def test_only_what_is_missing_or_broken_is_drawn_again_and_comes_out_the_same(tiny, design, tmp_path, monkeypatch):
    images = drawing.draw_images(pipeline_source(tiny), design, tmp_path)
    (tmp_path / images["path"][1]).unlink()
    whole = (tmp_path / images["path"][4]).read_bytes()
    (tmp_path / images["path"][4]).write_bytes(whole[: len(whole) // 2])
    drawn = []
    real = RoentgenPipeline._draw
    monkeypatch.setattr(
        RoentgenPipeline, "_draw", lambda self, wanted, *a: (drawn.extend(wanted), real(self, wanted, *a))[1]
    )
    again = drawing.draw_images(pipeline_source(tiny), design, tmp_path)
    assert [item[0] for item in drawn] == [design["image_id"][1], design["image_id"][4]]
    # Another place in another batch, the same noise: at most a rounding apart.
    for path in (images["path"][1], images["path"][4]):
        assert (tmp_path / path).is_file()
    assert (again["sha256"] == images["sha256"]).sum() >= 4


def test_an_image_does_not_depend_on_the_batch_that_it_is_drawn_in(tiny, design, tmp_path):
    alone = drawing.draw_images(pipeline_source(tiny, batch=1), design, tmp_path / "1")
    four = drawing.draw_images(pipeline_source(tiny, batch=4), design, tmp_path / "4")
    for one, other in zip(alone["path"], four["path"], strict=True):
        first = np.asarray(Image.open(tmp_path / "1" / one), dtype=int)
        second = np.asarray(Image.open(tmp_path / "4" / other), dtype=int)
        assert np.abs(first - second).max() <= 1


def test_changed_settings_draw_new_files_beside_the_old(tiny, design, tmp_path):
    first = pipeline_source(tiny).draw(design, tmp_path)
    second = pipeline_source(tiny, steps=1).draw(design, tmp_path)
    assert set(first["path"]).isdisjoint(second["path"]) and len(list(tmp_path.glob("images/*.png"))) == 12


def test_model_that_is_not_there_is_one_error_that_says_how_to_get_it(tiny, design, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"cannot be loaded.*accept its terms"):
        pipeline_source(tmp_path / "nothing").draw(design, tmp_path / "out")


def test_missing_packages_are_one_error_with_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(UserError, match=r"needs the package 'diffusers'.*\[roentgen\]"):
        pipeline_source("anywhere")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"size": 100}])
def test_parameter_out_of_range_is_a_user_error(wrong):
    with pytest.raises(UserError):
        pipeline_source("anywhere", **wrong)


# import


def published(n=24):
    """A table shaped as the published set: findings in columns, 1 yes, 0 no, -1 uncertain, empty not mentioned."""
    table = pd.DataFrame(
        {
            "image": [{"bytes": image_bytes(i, "JPEG" if i % 2 else "PNG"), "path": f"{i}.png"} for i in range(n)],
            "text": [f"prompt {i}" for i in range(n)],
            "gender": ["Female", "M"] * (n // 2),
            "age": [40 + i for i in range(n)],
            "view": ["PA"] * n,
            "Pneumonia": [[1.0, 0.0, None, -1.0, 1.0, None][i % 6] for i in range(n)],
            "No Finding": [[None, 1.0, 1.0, None, 1.0, None][i % 6] for i in range(n)],
        }
    )
    expected = ["pneumonia", "normal", "normal", "uncertain", "both", "neither"] * (n // 6)
    return table, expected


def test_classes_follow_the_findings_that_the_user_names():
    table, expected = published()
    assert classify(table, {"pneumonia": ["Pneumonia"], "normal": ["No Finding"]}).tolist() == expected
    words = pd.DataFrame({"label": ["Pneumonia", "no_finding", "Edema|Consolidation", "Edema", "Pneumonia;No Finding"]})
    wide = {"pneumonia": ["pneumonia", "Consolidation"], "normal": ["No Finding"]}
    assert classify(words, wide).tolist() == ["pneumonia", "normal", "pneumonia", "neither", "both"]
    lists = pd.DataFrame({"labels": [np.array(["Pneumonia", "Edema"]), ["No Finding"]]})
    assert classify(lists, wide).tolist() == ["pneumonia", "normal"]
    with pytest.raises(UserError, match="no finding 'Pneumonia'"):
        classify(table.drop(columns="Pneumonia"), {"pneumonia": ["Pneumonia"], "normal": ["No Finding"]})


@pytest.mark.parametrize("split", [False, True])
def test_parquet_is_imported_byte_for_byte_with_counts(split, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="the optional group 'roentgen' is not installed")
    table, _ = published()
    root = tmp_path / "set"
    root.mkdir()
    if split:
        table.iloc[:10].to_parquet(root / "a.parquet", row_group_size=3)
        table.iloc[10:].to_parquet(root / "b.parquet", row_group_size=4)
    else:
        table.to_parquet(root / "a.parquet", row_group_size=5)
    made = RoentgenImport("roentgen_v2", {"roentgen_import": str(root), "images_per_class": 3, "seed": 1})
    images = drawing.draw_images(made, pd.DataFrame(), tmp_path / "out")
    assert images["label"].value_counts().to_dict() == {"pneumonia": 3, "normal": 3}
    originals = {item["text"]: item["image"]["bytes"] for item in table.to_dict("records")}
    for prompt, path in zip(images["prompt"], images["path"], strict=True):
        data = (tmp_path / "out" / path).read_bytes()
        assert data == originals[prompt] and path.endswith(".png" if data.startswith(b"\x89PNG") else ".jpg")
    assert set(images["sex"]) <= {"female", "male"} and images["age"].between(40, 64).all()
    counts = dict(zip(made.counts["films"], made.counts["images"], strict=True))
    assert counts == {
        "in the set": 24,
        "pneumonia": 4,
        "normal": 8,
        "both": 4,
        "uncertain": 4,
        "neither": 4,
        "taken": 6,
    }
    assert (tmp_path / "out/import_counts.csv").is_file()
    assert re.search(r"in the set +24\n", capsys.readouterr().out)
    same = RoentgenImport("roentgen_v2", {"roentgen_import": str(root), "images_per_class": 3, "seed": 1})
    other = RoentgenImport("roentgen_v2", {"roentgen_import": str(root), "images_per_class": 3, "seed": 2})
    assert same.design().equals(made.design()) and not other.design().equals(made.design())


def test_folder_with_image_and_label_is_imported(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for i in range(4):
        (root / f"{i}.png").write_bytes(image_bytes(i))
    (root / "3.png").write_bytes(b"broken")
    pd.DataFrame(
        {
            "image": ["0.png", "1.png", "2.png", "3.png", "gone.png"],
            "label": ["Pneumonia", "No Finding", "Pneumonia", "No Finding", "No Finding"],
            "prompt": list("abcde"),
            "seed": [7, 8, 9, 10, 11],
            "model": "RoentGen-v2",
        }
    ).to_csv(root / "list.csv", index=False)
    made = roentgen_source("roentgen_v2", {"roentgen_import": str(root)})
    images = drawing.draw_images(made, pd.DataFrame(), tmp_path / "out")
    status = dict(zip(images["prompt"], images["status"], strict=True))
    assert status["a"] == status["b"] == status["c"] == "ok"
    assert status["d"].startswith("unreadable") and status["e"] == "missing image"
    assert set(images["model"]) == {"RoentGen-v2"} and set(images["seed"]) == {7, 8, 9, 10, 11}


def test_import_of_nothing_of_one_class_or_of_a_leaving_path_is_one_error(tmp_path):
    with pytest.raises(UserError, match="nothing to import"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(tmp_path / "no")})
    path = tmp_path / "list.csv"
    pd.DataFrame({"image": ["a.png"], "label": ["Pneumonia"]}).to_csv(path, index=False)
    with pytest.raises(UserError, match="no film of class normal"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(path)})
    pd.DataFrame({"image": ["../a.png", "b.png"], "label": ["Pneumonia", "No Finding"]}).to_csv(path, index=False)
    with pytest.raises(UserError, match="leaves its folder"):
        drawing.draw_images(
            roentgen_source("roentgen_v2", {"roentgen_import": str(path)}), pd.DataFrame(), tmp_path / "out"
        )
    with pytest.raises(UserError, match="roentgen_labels"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(path), "roentgen_labels": {"pneumonia": ["x"]}})
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="parquet"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(tmp_path / "x.parquet")})
