"""Batched Grad-CAM against the grad-cam package's one-image loop: same maps, time measured in turns in one run.

python benchmarks/bench_saliency.py [--backbone resnet50] [--size 224] [--films 32] [--rounds 3]
"""

import argparse
import time

import numpy as np
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from nbhelpers.interpretability import grad_cam


def package_loop(model, films, layer):
    """What a user of the grad-cam package writes: one film after the other."""
    with GradCAM(
        model=model, target_layers=[model.get_submodule(layer.name)], reshape_transform=layer.places
    ) as package:
        targets = [ClassifierOutputTarget(0)]
        return np.concatenate([package(input_tensor=film[None], targets=targets) for film in films])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", nargs="*", default=["resnet18", "resnet50"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--films", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{arguments.films} films of {arguments.size} pixels, {torch.get_num_threads()} threads, fp32")
    for backbone in arguments.backbone:
        torch.manual_seed(0)
        model = timm.create_model(backbone, num_classes=1, in_chans=1).eval()
        with torch.no_grad():
            # An untrained classifier's maps are so faint that the package's 1e-7 in its divisor would show.
            model.get_classifier().weight.mul_(1e4)
        films = torch.randn(arguments.films, 1, arguments.size, arguments.size)
        layer = grad_cam.map_layer(model, 1, arguments.size)
        seconds = {"package": [], "batched": []}
        for _ in range(arguments.rounds + 1):
            start = time.perf_counter()
            expected = package_loop(model, films, layer)
            middle = time.perf_counter()
            found = grad_cam.grad_cam(model, films, layer, scaled=True)
            seconds["package"].append(middle - start)
            seconds["batched"].append(time.perf_counter() - middle)
        package, batched = (min(times[1:]) for times in seconds.values())  # the first round warms up
        difference = float(np.abs(found - expected).max())
        print(
            f"{backbone:12s} package {1e3 * package / len(films):7.1f} ms/film   batched "
            f"{1e3 * batched / len(films):7.1f} ms/film   ratio {package / batched:5.1f}   "
            f"largest difference {difference:.1e} {'ok' if difference <= 1e-5 else 'TOO LARGE'}"
        )


if __name__ == "__main__":
    main()
