"""The named crops, and the box that each keeps of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nbhelpers.cropping.content import find_content
from nbhelpers.errors import UserError
from nbhelpers.images.files import Gray
from nbhelpers.images.masks import Box
from nbhelpers.runs.parameters import sources_of, suggest

MARGINS = (0.04, 0.04, 0.04, 0.10)


def _cut_margins(image: Gray, margins: Sequence[float]) -> Box:
    height, width = image.shape
    left, top, right, bottom = margins
    return Box(round(left * width), round(top * height), width - round(right * width), height - round(bottom * height))


METHODS: dict[str, Callable[[Gray, Sequence[float]], Box]] = {
    "none": lambda image, margins: _cut_margins(image, (0, 0, 0, 0)),
    "margins": _cut_margins,
    "content": lambda image, margins: find_content(image),
}


def crop_box(image: Gray, method: str = "content", margins: Sequence[float] = MARGINS) -> Box:
    """The box, never empty, that a method keeps of an image (uint8, (h, w)).

    `none` keeps all, `margins` takes fixed shares off (left, top, right, bottom), `content` looks for the radiograph
    (`find_content`). An unknown method, or margins that leave nothing, are a `UserError`.
    """
    if method not in METHODS:
        raise UserError(f"unknown crop {method!r}", "arms", suggest(method, METHODS))
    check_margins(margins)
    return METHODS[method](image, margins)


def check_margins(margins: Sequence[float]) -> None:
    """Raise a `UserError` unless margins are four shares, each 0 or more, that leave a tenth of the image or more."""
    if len(margins) != 4 or any(not 0 <= share < 1 for share in margins):
        raise UserError(
            f"crop_margins = {list(margins)}", "parameters", "give left, top, right, bottom, each from 0 to 1"
        )
    if margins[0] + margins[2] > 0.9 or margins[1] + margins[3] > 0.9:
        raise UserError(f"crop_margins = {list(margins)} leave nothing", "parameters", "give smaller shares")


def crops_of(arms: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """For each source that the arms name, the crops that they ask of it, in order; an unknown one is a `UserError`."""
    crops: dict[str, list[str]] = {}
    for name, arm in arms.items():
        if arm["crop"] not in METHODS:
            raise UserError(f"unknown crop {arm['crop']!r}", f"arm {name}", suggest(arm["crop"], METHODS))
        for source in sources_of(arm):
            wanted = crops.setdefault(source, [])
            if arm["crop"] not in wanted:
                wanted.append(arm["crop"])
    return crops
