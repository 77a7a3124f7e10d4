"""Notebook 03: one network trained on an arm's images. May import `networks`, `images` and what lies below them.

- `train`: an arm's images, its training epoch by epoch, and what it leaves in `03_training/<arm>`.
- `methods`: `finetune`, `lesions`, `probe` or `pairs`, an arm's third part.
- `masks`: lungs and lesions of simulated images, which `lesions` learns from.
- `splits`: training and validation images, no prompt pair or patient in both.
- `augmentation`: what a film can suffer on its way to a network.
- `schedule`: `Settings`, the learning rate, the order of batches.
- `losses`: what a training step lowers, and what an epoch is told by.
- `resume`: a training's state on disk, so that a stopped one goes on.
- `figures`: augmented images, training curves, validation scores.
"""
