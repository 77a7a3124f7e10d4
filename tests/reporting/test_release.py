"""The archive for a supplement: whole, verifiable to the byte, and without patients or keys."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from reporting import run_fixture

from nbhelpers.errors import UserError
from nbhelpers.reporting import release

PNG = "iVBORw0KGgoAAAANSUhEUg=="
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"widgets": {"state": {"x": PNG}}, "kernelspec": {"name": "python3"}},
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# 04"]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": ["x"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["AUROC 0.9\n"]},
                {"output_type": "display_data", "metadata": {}, "data": {"image/png": PNG, "text/plain": ["<Figure>"]}},
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"text/html": [f'<img src="data:image/png;{PNG}"']},
                },
                {"output_type": "execute_result", "metadata": {}, "data": {"text/html": ["<table>", "0.9</table>"]}},
            ],
        },
    ],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A finished run, on real films or on simulated ones alone."""
    monkeypatch.setattr(release, "made_otherwise", lambda *_: {})

    def make(real: bool) -> Path:
        folder = run_fixture.write(tmp_path / "mine")
        (folder / "parameters.yaml").write_text(yaml.safe_dump({"run": "mine", "arms": run_fixture.ARMS}))
        (folder / "index.html").write_text('<p>run</p><img src="figures/figure_4.png">')
        for name in ("figure_2.png", "figure_4.png", "crops.svg"):
            (folder / "figures").mkdir(exist_ok=True)
            (folder / "figures" / name).write_bytes(b"figure")
        (folder / "notebooks").mkdir()
        (folder / "notebooks" / "04_external_validation.ipynb").write_text(json.dumps(NOTEBOOK))
        (folder / "notebooks" / "04_external_validation.html").write_text(f"<img src='data:image/png;base64,{PNG}'>")
        (folder / "01_prompting" / "simulator" / "images").mkdir()
        (folder / "01_prompting" / "simulator" / "images" / "p00000.png").write_bytes(b"an image")
        (folder / "03_training" / "raw" / "checkpoint.safetensors").write_bytes(b"weights")
        if not real:
            for path in (folder / "04_external_validation").glob("*.csv"):
                head, *rows = path.read_text().splitlines(keepends=True)
                path.write_text(head + "".join(row for row in rows if "kermany" not in row))
        return folder

    return make


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_it_holds_what_a_reader_needs_and_neither_images_nor_networks(run: Any) -> None:
    found = contents(release.write(run(real=False)))
    wanted = {
        *("index.html", "parameters.yaml", "requirements.lock", "SHA256SUMS", "figures/figure_4.png"),
        *("notebooks/04_external_validation.ipynb", "notebooks/04_external_validation.html"),
        *("01_prompting/simulator/images.csv", "02_cropping/run.json", "03_training/raw/history.csv"),
        *("03_training/raw/run.json", "04_external_validation/metrics.csv", "05_interpretability/clusters.csv"),
    }
    assert wanted <= found.keys()
    assert not [name for name in found if name.endswith((".safetensors", "p00000.png"))]


def test_its_hashes_are_sha_256_of_every_other_file_as_sha256sum_writes_them(run: Any) -> None:
    found = contents(release.write(run(real=False)))
    sums = dict(reversed(line.split("  ", 1)) for line in found.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def test_where_it_lay_on_this_machine_is_not_told(run: Any, tmp_path: Path) -> None:
    folder = run(real=False)
    (folder / "notebooks" / "04_external_validation.html").write_text(f"saved as {folder}/figures/figure_2.png")
    found = contents(release.write(folder))
    assert found["notebooks/04_external_validation.html"] == b"saved as mine/figures/figure_2.png"
    assert not [name for name, data in found.items() if str(tmp_path).encode() in data]


def test_the_same_run_gives_the_same_bytes(run: Any) -> None:
    folder = run(real=False)
    assert release.write(folder).read_bytes() == release.write(folder).read_bytes()


@pytest.mark.parametrize("change", ["one byte", "a file less", "a file more", "no sums"])
def test_a_change_is_seen_down_to_one_byte(run: Any, tmp_path: Path, change: str) -> None:
    path = release.write(run(real=False))
    assert release.verify(path) == len(contents(path)) - 1
    found = contents(path)
    name = "04_external_validation/metrics.csv"
    if change == "one byte":
        found[name] = found[name].replace(b"0.8", b"0.9", 1)
    elif change == "a file less":
        del found[name]
    elif change == "a file more":
        name = "more.csv"
        found[name] = b""
    else:
        del found["SHA256SUMS"]
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for one, data in found.items():
            archive.writestr(f"mine/{one}", data)
    with pytest.raises(UserError) as told:
        release.verify(tmp_path / "other.zip")
    assert name in str(told.value)


def test_of_real_films_no_picture_goes_out_and_the_numbers_do(run: Any) -> None:
    found = contents(release.write(run(real=True)))
    assert not [name for name, data in found.items() if PNG.encode() in data or b"data:image" in data]
    assert "figures/figure_2.png" in found and not {"figures/figure_4.png", "figures/crops.svg"} & found.keys()
    assert "notebooks/04_external_validation.html" not in found
    notebook = json.loads(found["notebooks/04_external_validation.ipynb"])
    outputs = notebook["cells"][1]["outputs"]
    assert outputs[0]["text"] == ["AUROC 0.9\n"] and outputs[3] == NOTEBOOK["cells"][1]["outputs"][3]
    assert ["left out" in str(output) for output in outputs] == [False, True, True, False]


@pytest.mark.parametrize("real", [False, True])
def test_what_is_drawn_as_it_is_stays_as_it_is(run: Any, real: bool) -> None:
    folder = run(real)
    found = contents(release.write(folder))
    assert found["04_external_validation/metrics.csv"] == (folder / "04_external_validation/metrics.csv").read_bytes()


@pytest.mark.parametrize("key", ["AIza" + "b" * 35, "of-the-environment-1234"])
def test_a_key_stops_it_and_the_file_is_named(run: Any, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "of-the-environment-1234")
    folder = run(real=False)
    (folder / "notebooks" / "04_external_validation.html").write_text(f"<p>{key}</p>")
    with pytest.raises(UserError) as told:
        release.write(folder)
    assert "notebooks/04_external_validation.html" in str(told.value) and key not in str(told.value)
    assert not list(folder.glob("release_*"))


def test_a_run_that_is_not_finished_or_not_of_its_file_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(real=False)
    monkeypatch.setattr(release, "made_otherwise", lambda *_: {"02_cropping/run.json": {}})
    with pytest.raises(UserError, match="02_cropping"):
        release.write(folder)
    (folder / "03_training" / "raw" / "run.json").unlink()  # of a training that was run again and failed
    with pytest.raises(UserError, match="not finished: 03_training/raw"):
        release.write(folder)
    (folder / "index.html").unlink()
    with pytest.raises(UserError, match="the run is not finished"):
        release.write(folder)
