"""Any timm network: built, read from its folder, and asked for scores and features of images.

May import `images` (files to arrays), `runs`, `style` and `errors`.

- `models`: a timm network with one logit, and the checkpoint that holds all that is needed to rebuild it.
- `weights`: where first weights come from: a file, timm's cache, a package, timm's download.
- `preprocessing`: from image files to what a network sees, one transform kept with the checkpoint.
- `lesions`: a U-Net that draws lungs and lesions, and the score that is read from them.
- `probes`: a linear layer on a frozen network's blocks; `features`: pooled, kept by image and network.
- `scoring`: scores and features, a film's the same in any company.
- `checkpoints`: where networks lie; knows nothing of torch.
- `trained`: `Network`, and the one loader of arms, their further seeds and the user's own checkpoints.
- `own_checkpoint`: a user's weights file as a checkpoint.
"""
