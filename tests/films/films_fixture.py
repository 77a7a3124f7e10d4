"""Small data sets as users have them: a table of films, and Kermany's layout."""

import numpy as np

from nbhelpers.images.files import write_png

FILMS = {
    "train/NORMAL/IM-0115-0001.jpeg": 0,
    "train/NORMAL/NORMAL2-IM-0115-0001.JPG": 0,
    "train/PNEUMONIA/person12_bacteria_34.jpeg": 1,
    "train/PNEUMONIA/person12_bacteria_35.PNG": 1,
    "train/PNEUMONIA/person12_virus_36.jpeg": 1,
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": 0,
    "test/PNEUMONIA/person1_virus_6.jpeg": 1,
    "test/PNEUMONIA/renamed.jpeg": 1,
}


def write_layout(root):
    for number, name in enumerate(FILMS):
        side = 40 + number
        image = np.full((side, side + 5), 10 * number, np.uint8)
        target = root / name
        if target.suffix.lower() == ".png":
            write_png(target, image)
        else:
            from PIL import Image

            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(target, format="JPEG")
    (root / "train/NORMAL/._IM-0115-0001.jpeg").write_bytes(b"what a Mac leaves in an archive")
    (root / "train/NORMAL/Thumbs.db").write_bytes(b"what Windows leaves")


def write_folder(root, table, files):
    root.mkdir(exist_ok=True)
    for name in files:
        write_png(root / name, np.zeros((40, 40), np.uint8))
    table.to_csv(root / "films.csv", index=False)
    return {"folder_films": str(root / "films.csv")}
