"""The seam between a design and its pictures: registry, contract of a source, and the table that comes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nbhelpers.errors import UserError
from nbhelpers.images import files
from nbhelpers.prompting import drawing, prompts
from nbhelpers.runs import tables


class Painter:
    """A source that paints each image with its seed, and refuses some."""

    name, simulated, model = "gemini", False, "painter 1"

    def __init__(self, refuse: tuple[str, ...] = ()) -> None:
        self.refuse, self.painted = refuse, 0

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        rows = []
        for row in design.to_dict("records"):
            path = f"images/{row['image_id']}.png"
            if row["image_id"] in self.refuse:
                rows.append({"image_id": row["image_id"], "path": "", "status": "refused", "cost": 0.0})
                continue
            if not (folder / path).exists():
                values = np.random.default_rng(row["seed"]).integers(0, 255, (30, 20), dtype=np.uint8)
                files.write_png(folder / path, values)
                self.painted += 1
            rows.append({"image_id": row["image_id"], "path": path, "status": "ok", "cost": 0.04})
        return pd.DataFrame(rows).iloc[::-1]


@pytest.fixture
def design() -> pd.DataFrame:
    return prompts.design(4, 0, prompts.load_templates())


def test_the_table_holds_design_outcome_and_file(design: pd.DataFrame, tmp_path: Path) -> None:
    table = drawing.draw_images(Painter(), design, tmp_path)
    assert table["image_id"].tolist() == design["image_id"].tolist(), "in the design's order"
    assert table["prompt"].equals(design["prompt"]) and set(table["model"]) == {"painter 1"}
    assert (table["width"] == 20).all() and (table["height"] == 30).all() and (table["cost"] == 0.04).all()
    assert table["sha256"].str.len().eq(64).all()
    read = tables.read_table(tmp_path / "images.csv", "images")
    assert read["image_id"].tolist() == design["image_id"].tolist()
    assert read["pair_id"].tolist() == design["pair_id"].tolist(), "leading zeros survive"


def test_what_is_there_is_not_drawn_again_and_more_is_added(design: pd.DataFrame, tmp_path: Path) -> None:
    painter = Painter()
    drawing.draw_images(painter, design, tmp_path)
    drawing.draw_images(painter, design, tmp_path)
    assert painter.painted == 8
    drawing.draw_images(painter, prompts.design(6, 0, prompts.load_templates()), tmp_path)
    assert painter.painted == 12


def test_a_refusal_is_a_row_and_is_counted(design: pd.DataFrame, tmp_path: Path) -> None:
    refused = design["image_id"].iloc[0]
    table = drawing.draw_images(Painter((refused,)), design, tmp_path)
    assert table.set_index("image_id").loc[refused, "status"] == "refused"
    outcome = drawing.outcomes(table).set_index(["label", "status"])["images"]
    assert outcome.to_dict() == {("pneumonia", "refused"): 1, ("pneumonia", "ok"): 3, ("normal", "ok"): 4}
    assert drawing.source_facts(table) == {
        "gemini": {"simulated": False, "models": ["painter 1"], "images": {"ok": 7, "refused": 1}}
    }


def test_a_class_that_did_not_come_stops_the_run_after_the_table_is_written(
    design: pd.DataFrame, tmp_path: Path
) -> None:
    refused = tuple(design.loc[design["label"] == "normal", "image_id"])
    with pytest.raises(UserError, match=r"no usable image of class normal.*4 x refused"):
        drawing.draw_images(Painter(refused), design, tmp_path)
    assert len(tables.read_table(tmp_path / "images.csv", "images")) == 8


def test_a_file_that_is_no_image_is_unreadable_whatever_the_source_says(design: pd.DataFrame, tmp_path: Path) -> None:
    broken = tmp_path / "images" / f"{design['image_id'].iloc[1]}.png"
    broken.parent.mkdir()
    broken.write_bytes(b"not a picture")
    table = drawing.draw_images(Painter(), design, tmp_path)
    assert table["status"].tolist().count("unreadable") == 1 and table["status"].iloc[1] == "unreadable"


def test_rows_that_a_source_forgets_are_not_drawn(design: pd.DataFrame, tmp_path: Path) -> None:
    class Forgetful(Painter):
        def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
            return super().draw(design, folder).iloc[:-2]

    assert drawing.draw_images(Forgetful(), design, tmp_path)["status"].value_counts()["not drawn"] == 2


def test_a_source_that_breaks_the_contract_is_a_defect_not_a_user_error(design: pd.DataFrame, tmp_path: Path) -> None:
    class Twice(Painter):
        def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
            once = super().draw(design, folder)
            return pd.concat([once, once])

    with pytest.raises(ValueError, match="contract"):
        drawing.draw_images(Twice(), design, tmp_path)


def test_a_path_out_of_the_folder_is_refused(design: pd.DataFrame, tmp_path: Path) -> None:
    class Escaping(Painter):
        def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
            return super().draw(design, folder).assign(path="../../x.png")

    with pytest.raises(UserError, match="leaves its folder"):
        drawing.draw_images(Escaping(), design, tmp_path / "out")


def test_losses_of_one_class_show_in_the_match_of_what_came(design: pd.DataFrame, tmp_path: Path) -> None:
    whole = drawing.draw_images(Painter(), design, tmp_path / "a")
    assert drawing.matched_after_drawing(whole)["auroc"].tolist() == [0.5]
    lost = design[(design["label"] == "normal") & (design["view"] == "AP")]["image_id"]
    part = drawing.draw_images(Painter(tuple(lost)), design, tmp_path / "b")
    row = drawing.matched_after_drawing(part).iloc[0]
    assert row["auroc"] > 0.6 and row["normal"] == 4 - len(lost)


def test_sources_of_the_arms_come_once_in_their_order() -> None:
    arms = {
        "cropped": {"source": "simulator", "crop": "content"},
        "mine": {"source": "folder", "crop": "none"},
        "raw": {"source": "simulator", "crop": "none"},
    }
    assert drawing.sources_of(arms) == ["simulator", "folder"]


@pytest.mark.parametrize(
    "call", [lambda name: drawing.sources_of({"a": {"source": name}}), lambda name: drawing.make_source(name, {})]
)
def test_an_unknown_source_is_named_with_a_suggestion(call: object) -> None:
    with pytest.raises(UserError, match=r"unknown source 'simulater'.*did you mean 'simulator'"):
        call("simulater")  # type: ignore[operator]


def test_simulators_say_that_they_are() -> None:
    for name in ("simulator", "simulator_roentgen"):
        source = drawing.make_source(name, {})
        assert isinstance(source, drawing.Source) and source.simulated


def test_a_source_that_is_not_used_is_not_imported() -> None:
    code = "import sys, nbhelpers.prompting.drawing; print([m for m in sys.modules if '.prompting.sources' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(name: str, parameters: object) -> drawing.Source:
        raise ModuleNotFoundError("No module named 'google.genai'", name="google.genai")

    monkeypatch.setitem(sys.modules, "needy", SimpleNamespace(make=needs))
    monkeypatch.setitem(drawing.SOURCES, "gemini", "needy:make")
    with pytest.raises(UserError, match=r"needs the module 'google\.genai'"):
        drawing.make_source("gemini", {})


def test_all_sources_are_made_before_the_first_draws(design: pd.DataFrame, tmp_path: Path) -> None:
    arms = {
        "cropped": {"source": "simulator", "crop": "content"},
        "mine": {"source": "folder", "crop": "none"},
    }
    with pytest.raises(UserError, match="folder_table"):
        drawing.draw_all(arms, design, {"folder_table": None, "workers": 1}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_sources_draw_one_design_each_into_its_own_folder(tmp_path: Path) -> None:
    design = prompts.design(1, 0, prompts.load_templates())
    arms = {
        "cropped": {"source": "simulator", "crop": "content"},
        "roentgen_v2": {"source": "simulator_roentgen", "crop": "none"},
    }
    table = drawing.draw_all(arms, design, {"simulator_size": 96, "workers": 1}, tmp_path)
    assert table.groupby("source")["width"].first().to_dict() == {"simulator": 96, "simulator_roentgen": 512}
    assert (tmp_path / "simulator" / "images.csv").is_file() and (
        tmp_path / "simulator_roentgen" / "images.csv"
    ).is_file()


def test_a_source_that_knows_less_is_looked_at_beside_one_that_knows_more() -> None:
    full = pd.DataFrame(
        {
            "source": "gemini",
            "label": ["pneumonia", "normal"] * 4,
            "sex": ["female", "female", "male", "male"] * 2,
            "age": [30.0, 30.0, 60.0, 60.0] * 2,
            "status": "ok",
        }
    )
    nothing = full[["label", "status"]].assign(source="roentgen_v2")
    partly = full.assign(source="folder", age=[30.0, None] * 4, sex=["female", None] * 4)
    told = drawing.matched_after_drawing(pd.concat([full, nothing, partly], ignore_index=True)).set_index("source")
    assert told.loc["gemini", "auroc"] == 0.5
    assert told.loc["roentgen_v2", "worst_attribute"] == "none known"
    # Known of one class alone: that tells the label.
    assert told.loc["folder", "auroc"] == 1.0


def test_wording_and_sources_that_are_missing_are_told_at_once(tmp_path: Path) -> None:
    given = {"arms": {"a": {"source": "folder"}}, "prompt_templates": "nowhere.yaml", "folder_table": None}
    with pytest.raises(UserError, match=r"(?s)^2 faults.*prompt templates not found.*folder_table"):
        drawing.check(given, tmp_path)
    drawing.check({"arms": {"a": {"source": "simulator"}}, "prompt_templates": None}, tmp_path)
