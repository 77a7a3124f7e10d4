"""RoentGen-v2's published set: classes by its findings, images byte for byte."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.prompting import drawing
from nbhelpers.prompting.sources.roentgen import roentgen_source
from nbhelpers.prompting.sources.roentgen_set import RoentgenImport, classify


def image_bytes(seed, kind="PNG", size=16):
    values = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def published(n=24):
    """A table shaped as the published set: findings in columns, 1 yes, 0 no, -1 uncertain, empty not mentioned."""
    table = pd.DataFrame(
        {
            "image": [{"bytes": image_bytes(i, "JPEG" if i % 2 else "PNG"), "path": f"{i}.png"} for i in range(n)],
            "text": [f"prompt {i}" for i in range(n)],
            "gender": ["Female", "M"] * (n // 2),
            "age": [40 + i for i in range(n)],
            "view": ["PA"] * n,
            "Pneumonia": [[1.0, 0.0, None, -1.0, 1.0, None][i % 6] for i in range(n)],
            "No Finding": [[None, 1.0, 1.0, None, 1.0, None][i % 6] for i in range(n)],
        }
    )
    expected = ["pneumonia", "normal", "normal", "uncertain", "both", "neither"] * (n // 6)
    return table, expected


def test_classes_follow_the_findings_that_the_user_names():
    table, expected = published()
    assert classify(table, {"pneumonia": ["Pneumonia"], "normal": ["No Finding"]}).tolist() == expected
    words = pd.DataFrame({"label": ["Pneumonia", "no_finding", "Edema|Consolidation", "Edema", "Pneumonia;No Finding"]})
    wide = {"pneumonia": ["pneumonia", "Consolidation"], "normal": ["No Finding"]}
    assert classify(words, wide).tolist() == ["pneumonia", "normal", "pneumonia", "neither", "both"]
    lists = pd.DataFrame({"labels": [np.array(["Pneumonia", "Edema"]), ["No Finding"]]})
    assert classify(lists, wide).tolist() == ["pneumonia", "normal"]
    with pytest.raises(UserError, match="no finding 'Pneumonia'"):
        classify(table.drop(columns="Pneumonia"), {"pneumonia": ["Pneumonia"], "normal": ["No Finding"]})


@pytest.mark.parametrize("split", [False, True])
def test_parquet_is_imported_byte_for_byte_with_counts(split, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="the optional group 'roentgen' is not installed")
    table, _ = published()
    root = tmp_path / "set"
    root.mkdir()
    if split:
        table.iloc[:10].to_parquet(root / "a.parquet", row_group_size=3)
        table.iloc[10:].to_parquet(root / "b.parquet", row_group_size=4)
    else:
        table.to_parquet(root / "a.parquet", row_group_size=5)
    made = RoentgenImport("roentgen_v2", {"roentgen_import": str(root), "images_per_class": 3, "seed": 1})
    images = drawing.draw_images(made, pd.DataFrame(), tmp_path / "out")
    assert images["label"].value_counts().to_dict() == {"pneumonia": 3, "normal": 3}
    originals = {item["text"]: item["image"]["bytes"] for item in table.to_dict("records")}
    for prompt, path in zip(images["prompt"], images["path"], strict=True):
        data = (tmp_path / "out" / path).read_bytes()
        assert data == originals[prompt] and path.endswith(".png" if data.startswith(b"\x89PNG") else ".jpg")
    assert set(images["sex"]) <= {"female", "male"} and images["age"].between(40, 64).all()
    counts = dict(zip(made.counts["films"], made.counts["images"], strict=True))
    assert counts == {
        "in the set": 24,
        "pneumonia": 4,
        "normal": 8,
        "both": 4,
        "uncertain": 4,
        "neither": 4,
        "taken": 6,
    }
    assert (tmp_path / "out/import_counts.csv").is_file()
    assert re.search(r"in the set +24\n", capsys.readouterr().out)
    same = RoentgenImport("roentgen_v2", {"roentgen_import": str(root), "images_per_class": 3, "seed": 1})
    other = RoentgenImport("roentgen_v2", {"roentgen_import": str(root), "images_per_class": 3, "seed": 2})
    assert same.design().equals(made.design()) and not other.design().equals(made.design())


def test_folder_with_image_and_label_is_imported(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for i in range(4):
        (root / f"{i}.png").write_bytes(image_bytes(i))
    (root / "3.png").write_bytes(b"broken")
    pd.DataFrame(
        {
            "image": ["0.png", "1.png", "2.png", "3.png", "gone.png"],
            "label": ["Pneumonia", "No Finding", "Pneumonia", "No Finding", "No Finding"],
            "prompt": list("abcde"),
            "seed": [7, 8, 9, 10, 11],
            "model": "RoentGen-v2",
        }
    ).to_csv(root / "list.csv", index=False)
    made = roentgen_source("roentgen_v2", {"roentgen_import": str(root)})
    images = drawing.draw_images(made, pd.DataFrame(), tmp_path / "out")
    status = dict(zip(images["prompt"], images["status"], strict=True))
    assert status["a"] == status["b"] == status["c"] == "ok"
    assert status["d"].startswith("unreadable") and status["e"] == "missing image"
    assert set(images["model"]) == {"RoentGen-v2"} and set(images["seed"].astype(int)) == {7, 8, 9, 10, 11}


def test_import_of_nothing_of_one_class_or_of_a_leaving_path_is_one_error(tmp_path):
    with pytest.raises(UserError, match="nothing to import"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(tmp_path / "no")})
    path = tmp_path / "list.csv"
    pd.DataFrame({"image": ["a.png"], "label": ["Pneumonia"]}).to_csv(path, index=False)
    with pytest.raises(UserError, match="no image of class normal"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(path)})
    pd.DataFrame({"image": ["../a.png", "b.png"], "label": ["Pneumonia", "No Finding"]}).to_csv(path, index=False)
    with pytest.raises(UserError, match="leaves its folder"):
        drawing.draw_images(
            roentgen_source("roentgen_v2", {"roentgen_import": str(path)}), pd.DataFrame(), tmp_path / "out"
        )
    with pytest.raises(UserError, match="roentgen_labels"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(path), "roentgen_labels": {"pneumonia": ["x"]}})
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="parquet"):
        roentgen_source("roentgen_v2", {"roentgen_import": str(tmp_path / "x.parquet")})
