"""Notebook 01 at the screen: attributes turned into a prompt and a simulated pair, and drawn images reviewed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from nbhelpers.errors import UserError
from nbhelpers.images.contact_sheet import side_by_side, tile_or_blank
from nbhelpers.images.widgets import choice, filtered, filters, pages, picture, row, watch, whole, words
from nbhelpers.prompting.prompts import AGES, LEVELS, LOCATIONS, Templates, write_prompt
from nbhelpers.runs import front_end, reviews
from nbhelpers.simulator.film import draw_film
from nbhelpers.style import readable

VIEWS = {"PA, erect": ("PA", "erect"), "AP, erect": ("AP", "erect"), "AP, supine": ("AP", "supine")}
REASONS = (
    "no chest film",
    "wrong anatomy",
    "two images in one",
    "finding not as requested",
    "artefact",
    "letters or markers",
)
FILTERS = ("label", "sex", "age_group", "view", "position", "habitus", "exposure", "pattern", "side", "lobe", "extent")


def pair(attributes: Mapping[Any, Any], templates: Templates, seed: int, size: int = 256) -> dict[str, Any]:
    """A pneumonia and its normal twin: by label the prompt and the simulated image, uint8 `(size, size)`.

    `attributes` are those of a row of the design; `seed` is the patient and the opacities.
    """
    made = {}
    for label in ("pneumonia", "normal"):
        wording = attributes[f"wording_{label}"]
        asked = {**attributes, "label": label, "finding_template": wording}
        made[label] = write_prompt(asked, templates), draw_film(asked, seed, seed, size=size).image
    return made


def ask(design: pd.DataFrame, templates: Templates, size: int = 256) -> widgets.Widget | Figure:
    """Attributes to choose, and at once the prompts that they become and the pair that the simulator draws for them.

    It begins with the design's first pair; where nobody is at the screen, that pair is a figure.
    """
    first: dict[Any, Any] = design.iloc[0].to_dict() | {
        f"wording_{label}": design.loc[design["label"] == label, "finding_template"].iloc[0]
        for label in ("pneumonia", "normal")
    }
    if not front_end.live():
        made = pair(first, templates, int(first["pair_seed"]) % 1000, size)
        return side_by_side({f"{label} (simulated). {text}": image for label, (text, image) in made.items()}, 1.5)
    menus = {
        name: choice(name.replace("_", " "), LEVELS[name], value=first[name])
        for name in ("sex", "habitus", "exposure", "pattern", "extent")
    }
    menus["template"] = choice("scene", sorted(templates.scenes), value=first["template"])
    for label, wordings in templates.findings.items():
        menus[f"wording_{label}"] = choice(f"wording, {label}", sorted(wordings), value=first[f"wording_{label}"])
    view = choice("view", [(name, name) for name in VIEWS], value=f"{first['view']}, {first['position']}")
    location = choice("place", LOCATIONS, value=f"{first['side']} {first['lobe']}")
    age = whole("age", int(first["age"]), 1, 90)
    devices = {
        name: widgets.Checkbox(name in first["devices"].split(";"), description=name.replace("_", " "), indent=False)
        for name in LEVELS["devices"]
        if name != "none"
    }
    patient = whole("patient", int(first["pair_seed"]) % 1000, 0, 999)
    told, (left, to_left), (right, to_right) = widgets.HTML(), picture(), picture()

    def change() -> None:
        side, lobe = location.value.split()
        group = next(name for name, (low, high) in AGES.items() if age.value < high or name == "older")
        asked = {name: menu.value for name, menu in menus.items()} | {
            **{"age": age.value, "age_group": group, "side": side, "lobe": lobe},
            **dict(zip(("view", "position"), VIEWS[view.value], strict=True)),
            "devices": ";".join(sorted(name for name, box in devices.items() if box.value)) or "none",
        }
        made = pair(asked, templates, patient.value, size)
        for label, to in (("pneumonia", to_left), ("normal", to_right)):
            to(made[label][1], f"{label} (simulated)")
        told.value = words(*(f"<b>{label}</b>: {escape(prompt)}" for label, (prompt, _) in made.items()))

    watch(change, age, view, location, patient, *menus.values(), *devices.values())
    turned = row(*menus.values(), view, location, age, patient)
    return widgets.VBox([turned, row(*devices.values()), told, row(left, right)])


def decisions(images: pd.DataFrame, run_folder: Path) -> pd.DataFrame:
    """What reviewers decided so far, with what each image is: `source, image_id, label, decision, reviewer, reason`."""
    found = reviews.read(run_folder).merge(images[["source", "image_id", "label"]], how="left")
    return found[["source", "image_id", "label", "decision", "reviewer", "reason"]]


def review(images: pd.DataFrame, stage_folder: Path) -> widgets.Widget | Styler:
    """Drawn images, filtered by attribute, one at a time, to keep or reject under one's name.

    Decisions go to the run's `reviews.csv`, which notebook 02 reads. Where nobody is at the screen: the decisions.
    `images` is what `drawing.draw_all` gives, whose files lie in `stage_folder/<source>/`.
    """
    run_folder = stage_folder.parent
    if not front_end.live():
        return readable(decisions(images, run_folder), nothing="no image was reviewed")
    drawn = images[images["status"] == "ok"]
    sources = choice("source", list(drawn["source"].unique()))
    menus = filters(drawn, FILTERS)
    told, (shown, to) = widgets.HTML(), picture()
    reviewer = widgets.Text(description="reviewer", placeholder="your name")
    reason = widgets.Combobox(description="why", options=REASONS, placeholder="reason for rejection")
    keep, reject = (
        widgets.Button(description=name, icon=icon, button_style=style)
        for name, icon, style in (("keep", "check", "success"), ("reject", "times", "danger"))
    )
    now: list[pd.Series] = []  # the image on the screen

    def look(image: pd.Series | None, place: str) -> None:
        keep.disabled = reject.disabled = image is None
        if image is None:
            to(None, "")
            told.value = words("no image of this kind")
            return
        now[:] = [image]
        to(tile_or_blank(stage_folder / image["source"], image["path"]), f"{image['image_id']}, {image['label']}")
        made = decisions(images, run_folder)
        made = made[(made["source"] == image["source"]) & (made["image_id"] == image["image_id"])].fillna("")
        so_far = "; ".join(f"{one.decision} by {one.reviewer} {one.reason}" for one in made.itertuples())
        prompt = "" if pd.isna(image.get("prompt")) else str(image["prompt"])
        told.value = words(f"{place}. {escape(prompt)}", f"<b>{escape(so_far) or 'not reviewed'}</b>")

    def decide(decision: str) -> None:
        try:
            why = reason.value if decision == "reject" else ""
            reviews.decide(run_folder, now[0]["source"], now[0]["image_id"], decision, reviewer.value, why)
        except UserError as fault:
            again()
            told.value += words(f"{escape(fault.what)}: {escape(fault.do)}")
            return
        if at.value < at.max:
            at.value += 1
        else:
            again()

    keep.on_click(lambda _: decide("keep"))
    reject.on_click(lambda _: decide("reject"))
    at, again = pages(
        "image", lambda: filtered(drawn[drawn["source"] == sources.value], menus), look, sources, *menus.values()
    )
    return widgets.VBox([row(sources, *menus.values()), at, shown, told, row(reviewer, reason, keep, reject)])
