"""Pictures that were made elsewhere, and systems that are gone."""

import numpy as np
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import brought
from nbhelpers.image_models.editors.brought import FolderEditor, WithdrawnEditor
from nbhelpers.image_models.editors.edits import EditRequest


def request(edit_id, shape=(40, 56, 3)):
    values = np.random.default_rng(len(edit_id)).integers(0, 255, shape, dtype=np.uint8)
    return EditRequest(edit_id, values, "take off the pacemaker")


def picture(path, size=(56, 40), value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 10, 200)).save(path)
    return path


def test_pictures_are_found_by_name_and_copied_byte_for_byte(tmp_path):
    file = picture(tmp_path / "in/a.png")
    editor = FolderEditor("step1x", {"path": str(tmp_path / "in")})
    answer = editor.edit_all([request("a")], tmp_path / "out")["a"]
    assert answer.kind == "edited" and answer.detail == "" and (answer.image == (90, 10, 200)).all()
    assert (tmp_path / "out" / answer.path).read_bytes() == file.read_bytes()


def test_a_table_may_name_them_and_paths_count_from_its_folder(tmp_path):
    picture(tmp_path / "in/other name.png")
    (tmp_path / "in/t.csv").write_text("edit_id,path\na,other name.png\nb,../out.png\n")
    editor = FolderEditor("web", {"path": str(tmp_path / "in/t.csv")})
    with pytest.raises(UserError, match="leaves its folder"):
        editor.edit_all([request("a")], tmp_path / "out")
    (tmp_path / "in/t.csv").write_text("edit_id,path\na,other name.png\n")
    answers = editor.edit_all([request("a"), request("b")], tmp_path / "out")
    assert [answers[name].kind for name in "ab"] == ["edited", "no_answer"]


def test_another_size_is_stretched_to_the_requests_and_said(tmp_path):
    picture(tmp_path / "in/a.png", (112, 80))
    answer = FolderEditor("x", {"path": str(tmp_path / "in")}).edit_all([request("a")], tmp_path / "out")["a"]
    assert answer.image.shape == (40, 56, 3) and (answer.width, answer.height) == (112, 80)
    assert answer.detail == "provided at 112 x 80, resized to 56 x 40"


def test_a_picture_of_sixteen_bits_is_broken_and_never_white(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((40, 56), 20_000, np.uint16)).save(tmp_path / "in/a.png")
    answer = FolderEditor("x", {"path": str(tmp_path / "in")}).edit_all([request("a")], tmp_path / "out")["a"]
    assert answer.kind == "broken" and "8 bits" in answer.detail


def test_files_are_bounded_before_they_are_read_or_decoded_and_a_broken_one_is_an_answer(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    Image.new("1", (9000, 9000)).save(tmp_path / "in/large.png")
    (tmp_path / "in/cut.png").write_bytes(picture(tmp_path / "whole.png").read_bytes()[:90])
    picture(tmp_path / "in/heavy.png")
    wanted = [request(name) for name in ("large", "cut")]
    answers = FolderEditor("x", {"path": str(tmp_path / "in")}).edit_all(wanted, tmp_path / "out")
    assert [answers[name].kind for name in ("large", "cut")] == ["broken", "broken"]
    assert "pixels" in answers["large"].detail and not (tmp_path / "out").exists()
    monkeypatch.setattr(brought, "MOST_BYTES", 10)
    heavy = FolderEditor("x", {"path": str(tmp_path / "in")}).edit_all([request("heavy")], tmp_path / "out")
    assert heavy["heavy"].kind == "broken" and "bytes" in heavy["heavy"].detail


def test_a_folder_without_any_wanted_picture_or_with_two_of_one_name_is_an_error(tmp_path):
    picture(tmp_path / "in/a.png")
    editor = FolderEditor("x", {"path": str(tmp_path / "in")})
    with pytest.raises(UserError, match=r"no image for any of the 1 edits.*b\.png"):
        editor.edit_all([request("b")], tmp_path / "out")
    picture(tmp_path / "in/a.jpg")
    with pytest.raises(UserError, match="two images for edit 'a'"):
        editor.edit_all([request("a")], tmp_path / "out")
    with pytest.raises(UserError, match="no images at"):
        FolderEditor("x", {"path": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="no images at"):
        FolderEditor("x", {})


def test_a_withdrawn_system_has_its_rows(tmp_path):
    editor = WithdrawnEditor("gemini_2_flash", {"note": "shut down on 2026-06-01"})
    answer = editor.edit_all([request("a")], tmp_path)["a"]
    assert answer.kind == "no_answer" and answer.image is None and answer.detail == "shut down on 2026-06-01"
