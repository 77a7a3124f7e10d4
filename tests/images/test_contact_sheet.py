"""Tiles as a reader sees them: shrunk, gray or in colour, and blank where there is no image."""

import numpy as np
from PIL import Image

from nbhelpers.images import contact_sheet
from nbhelpers.images.files import write_png


def test_a_tile_keeps_the_aspect_ratio_and_its_longer_side_is_the_tiles():
    tall = contact_sheet.shrink(Image.fromarray(np.full((1024, 512), 90, np.uint8)))
    assert tall.shape == (contact_sheet.TILE, contact_sheet.TILE // 2) and (tall == 90).all()
    assert contact_sheet.shrink(Image.fromarray(np.zeros((4000, 2), np.uint8))).shape == (contact_sheet.TILE, 1)


def test_colour_stays_colour_and_deep_gray_is_stretched():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    assert contact_sheet.shrink(Image.fromarray(red))[0, 0].tolist() == [200, 0, 0]
    deep = contact_sheet.shrink(Image.fromarray(np.linspace(0, 4000, 64 * 64).reshape(64, 64).astype(np.uint16)))
    assert deep.ndim == 2 and deep.min() < 5 and deep.max() > 250


def test_what_cannot_be_read_is_a_blank_tile(tmp_path):
    write_png(tmp_path / "a.png", np.full((32, 32), 7, np.uint8))
    (tmp_path / "b.png").write_text("no image")
    assert (contact_sheet.tile_or_blank(tmp_path, "a.png") == 7).all()
    for path in ("b.png", "none.png", "../a.png", "", float("nan")):
        blank = contact_sheet.tile_or_blank(tmp_path, path)
        assert blank.shape == (contact_sheet.TILE,) * 2 and len(np.unique(blank)) == 1


def test_a_grid_has_its_axes_in_rows_without_frames_and_titles_stand_at_the_left():
    figure, axes = contact_sheet.grid(2, 3)
    assert [len(line) for line in axes] == [3, 3] and not any(axis.axison for line in axes for axis in line)
    contact_sheet.show(axes[0][0], np.full((8, 8), 128, np.uint8))
    contact_sheet.row_title(axes[0][0], "simulator")
    assert axes[0][0].images[0].get_clim() == (0, 255) and axes[0][0].texts[0].get_position()[0] < 0
    assert figure.get_size_inches()[0] == contact_sheet.PAGE_WIDTH


def test_images_stand_side_by_side_each_under_its_title() -> None:
    figure = contact_sheet.side_by_side({"film": np.zeros((8, 8), np.uint8), "edit": np.full((8, 8), 255, np.uint8)})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["film", "edit"]
    assert [axis.images[0].get_array().mean() for axis in figure.axes] == [0, 255]
