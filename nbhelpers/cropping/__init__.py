"""Notebook 02: from a raw image to the radiograph in it. May import `simulator` (its truth), `images` and below.

- `methods`: the named crops, and the box that each keeps.
- `content`: the radiograph found between frames, captions and watermark.
- `quality`: why an image is left out.
- `crop`: all images of a source judged and cropped.
- `against_truth`: crops of simulated images against what the simulator knows.
- `figures`: crops and exclusions as contact sheets.
- `widgets`: at the screen, margins and crops over one image, and what was left out.
"""
