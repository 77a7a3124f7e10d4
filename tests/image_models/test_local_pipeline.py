"""Pipelines called with what they take."""

from types import SimpleNamespace

import torch

from nbhelpers.image_models.local_pipeline import draw, taken


class Pipeline:
    def __call__(self, prompt, image=None, generator=None, num_inference_steps=5):
        self.seen = {"prompt": prompt, "image": image, "num_inference_steps": num_inference_steps}
        return SimpleNamespace(images=[torch.rand(2, generator=one).tolist() for one in generator])


def test_what_a_pipeline_does_not_take_and_what_is_not_set_is_left_out():
    pipeline = Pipeline()
    assert taken(pipeline) == {"prompt", "image", "generator", "num_inference_steps"}
    first = draw(pipeline, [3, 4], prompt="p", image=None, strength=0.5, num_inference_steps=2)
    assert pipeline.seen == {"prompt": "p", "image": None, "num_inference_steps": 2}
    assert first[1] == draw(pipeline, [4], prompt="p")[0] != first[0], "each picture has its own noise"
