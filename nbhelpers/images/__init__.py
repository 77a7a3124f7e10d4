"""Image files, and what is measured on any image. May import `runs`, `metrics`, `style` and `errors`.

- `files`: formats told by their bytes, decoded within bounds; gray, resized, written.
- `dicom`: pixels and header of a DICOM film.
- `masks`: boxes and masks, one turned into the other.
- `duplicates`: near-duplicates by perceptual hash and thumbnail.
- `contact_sheet`: tiles of images in a grid.
- `widgets`: pictures, menus and sliders at the screen; a wipe between two pictures.
"""
