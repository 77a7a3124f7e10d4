"""Folders as people unpack them."""

from __future__ import annotations

from pathlib import Path

from nbhelpers.films.layouts import find_below, subfolders


def test_the_shallowest_fitting_folder_is_found_under_the_first_of_the_names(tmp_path: Path) -> None:
    for place in ("Second/deep/er/it", "second/it", "FIRST/a/b/it", "third/it"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)

    def holds(folder: Path) -> bool:
        return (folder / "it").is_dir()

    assert find_below(tmp_path, ["third", "second"], holds) == tmp_path / "third"
    assert find_below(tmp_path, ["first"], holds) == tmp_path / "FIRST" / "a" / "b"
    assert find_below(tmp_path, ["fourth"], holds) is None
    assert find_below(tmp_path / "nowhere", ["first"], holds) is None


def test_what_a_mac_and_what_is_hidden_is_no_folder_of_data(tmp_path: Path) -> None:
    for name in ("__MACOSX", ".cache", "b", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    assert [path.name for path in subfolders(tmp_path)] == ["a", "b"]
