"""RoentGen-v2 on this machine: its wording, and a tiny pipeline of random weights."""

import json

import numpy as np
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.prompting import drawing, prompts
from nbhelpers.prompting.sources import roentgen
from nbhelpers.prompting.sources.roentgen import RoentgenPipeline, roentgen_prompt, roentgen_source


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
    monkeypatch.setattr(roentgen, "load_pipeline", lambda *_: pytest.fail("the pipeline was loaded again"))
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


def test_another_pipeline_draws_the_designs_own_prompts(tiny, design, tmp_path):
    settings = {"model": str(tiny), "steps": 2, "size": 16}
    made = drawing.make_source("diffusers", {"image_models": {"diffusers": settings}, "device": "cpu"})
    images = drawing.draw_images(made, design, tmp_path)
    assert (images["status"] == "ok").all() and images["prompt"].tolist() == design["prompt"].tolist()
    assert set(images["width"]) == {16} and set(images["model"]) == {str(tiny)}
    with pytest.raises(
        UserError, match=r"did you mean 'steps'.*image_models, diffusers|image_models, diffusers.*steps"
    ):
        drawing.make_source("diffusers", {"image_models": {"diffusers": settings | {"step": 3}}})
    with pytest.raises(UserError, match="no model is named"):
        drawing.make_source("diffusers", {})


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
