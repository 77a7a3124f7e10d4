import numpy as np
import pytest
from simulator.simulator_fixture import SICK, lesion_of

from nbhelpers.simulator.film import CHOICES


@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("pattern", CHOICES["pattern"])
def test_lesions_lie_on_the_side_asked_for(side, pattern):
    for pair_seed in range(4):
        lesion, chest, canvas = lesion_of({**SICK, "side": side, "pattern": pattern, "extent": "severe"}, pair_seed)
        middle = 0.6 * chest.patient.rotation
        # The patient's right lung is on the left of the image.
        right, left = lesion.mask[canvas.x < middle].sum(), lesion.mask[canvas.x > middle].sum()
        assert (right > 30) == (side != "left") and (left > 30) == (side != "right")


def test_lesions_lie_in_the_lobe_asked_for():
    depth = {}
    for lobe in ("upper", "middle", "lower"):
        found = []
        for pair_seed in range(8):
            lesion, chest, _ = lesion_of({**SICK, "lobe": lobe}, pair_seed)
            found.append(chest.depth[lesion.mask].mean())
        depth[lobe] = np.mean(found)
    assert depth["upper"] < 0.45 < 0.55 < depth["middle"] < depth["lower"]


@pytest.mark.parametrize("pattern", CHOICES["pattern"])
def test_more_extent_means_more_lesion_in_every_patient(pattern):
    for pair_seed in range(8):
        area = [
            lesion_of({**SICK, "extent": extent, "pattern": pattern, "lobe": "diffuse"}, pair_seed)[0].added.sum()
            for extent in ("mild", "moderate", "severe")
        ]
        assert area[0] < area[1] < area[2]


def test_an_opacity_never_replaces_more_air_than_there_is():
    for pair_seed in range(10):
        lesion, chest, _ = lesion_of({**SICK, "extent": "severe", "lobe": "diffuse"}, pair_seed)
        assert lesion.added.min() >= 0
        assert (lesion.added <= chest.air + 1e-5).all()
        assert lesion.added[lesion.mask].mean() > 0.3 * chest.air[lesion.mask].mean()


def test_silhouette_sign_a_middle_lobe_hides_the_heart_border():
    def border_contrast(attenuation, chest, canvas):
        beside = (chest.heart < 0.2) & (np.abs(canvas.x) < 0.75) & (canvas.x < 0)
        rows = (chest.depth > 0.62) & (chest.depth < 0.8)
        near = canvas.distance_inside(1 - chest.heart)
        lung = beside & rows & (near > 0.04) & (near < 0.10)
        heart = (chest.heart > 0.95) & (canvas.x < 0) & rows & (canvas.distance_inside(chest.heart) < 0.10)
        return attenuation[heart].mean() - attenuation[lung].mean()

    less = 0
    for pair_seed in range(8):
        lesion, chest, canvas = lesion_of({**SICK, "lobe": "middle", "extent": "severe"}, pair_seed)
        before = border_contrast(chest.attenuation, chest, canvas)
        after = border_contrast(chest.attenuation + lesion.added, chest, canvas)
        less += after < 0.5 * before
    assert less >= 6


def test_air_bronchograms_stay_darker_than_the_consolidation_around_them():
    darker = 0
    for pair_seed in range(8):
        attributes = {**SICK, "extent": "severe", "lobe": "diffuse"}
        lesion, chest, _ = lesion_of(attributes, pair_seed)
        share = lesion.added / np.maximum(chest.air - chest.vessels, 1e-3)
        solid = (share > 0.4) & (chest.air > 0.15)
        airway = solid & (chest.bronchi > 0.7)
        if airway.any():
            darker += share[airway].mean() < share[solid & (chest.bronchi < 0.05)].mean()
    assert darker >= 6
