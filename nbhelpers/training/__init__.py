"""Notebook 03: one network trained on an arm's images. May import `networks`, `images` and what lies below them.

- `train`: an arm's images, its training epoch by epoch, and what it leaves in `03_training/<arm>`.
- `methods`: `finetune`, `probe` or `pairs`, an arm's third part.
- `splits`: training and validation images, no prompt pair or patient in both.
- `augmentation`: what a film can suffer on its way to a network.
- `schedule`: `Settings`, the learning rate, the order of batches.
- `resume`: a training's state on disk, so that a stopped one goes on.
- `figures`: augmented images, training curves, validation scores.
"""
