"""Chest X-rays by formulas, with their truth; none is fitted to real films. May import `images` and what lies below.

- `film`: a film drawn from its attributes and seeds, one or many.
- `anatomy`: a patient, and the attenuation of the chest; `lesions`: what replaces air in it.
- `canvas`: drawing in a patient's own coordinates.
- `acquisition`: devices, exposure and detector; `overlays`: frames, captions, markers, watermark.
- `truth`: the masks as they are stored beside a film.
"""
