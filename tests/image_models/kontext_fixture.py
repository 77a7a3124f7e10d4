"""A FLUX Kontext pipeline of a hundred thousand random weights, in a folder as the hub would give it."""

import pytest


def save_tiny(folder):
    """Make the pipeline and save it below `folder`."""
    import diffusers
    import torch
    import transformers

    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    vae = diffusers.AutoencoderKL(
        sample_size=32,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0609,
        scaling_factor=1.5035,
    )
    letters = [chr(code) for code in range(97, 123)]
    names = ["<pad>", "</s>", "<unk>", "<|startoftext|>", "<|endoftext|>", " ", *letters]
    words = {letter: number for number, letter in enumerate(names)}
    clip = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=2,
            bos_token_id=words["<|startoftext|>"],
            eos_token_id=words["<|endoftext|>"],
            pad_token_id=words["<pad>"],
            projection_dim=32,
        )
    )
    t5 = transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(words),
            d_model=32,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    pipeline = diffusers.FluxKontextPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae.eval(),
        text_encoder=clip.eval(),
        tokenizer=_tokenizer(words, "<|endoftext|>", 77),
        text_encoder_2=t5.eval(),  # it starts in training mode, and dropout would differ from call to call
        tokenizer_2=_tokenizer(words, "</s>", 512),
        transformer=transformer.eval(),
    )
    pipeline.save_pretrained(folder)


def _tokenizer(words, end, longest):
    """A tokenizer that knows letters, made in memory."""
    import tokenizers
    import transformers

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, words[end])]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", eos_token=end, model_max_length=longest
    )


@pytest.fixture(scope="session")
def tiny_kontext(tmp_path_factory):
    """The folder of the tiny pipeline; skipped where the optional packages are not installed."""
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package, reason="the optional group 'roentgen' is not installed")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads cost more than they bring at this size
    folder = tmp_path_factory.mktemp("kontext")
    save_tiny(folder)
    yield folder
    torch.set_num_threads(threads)
