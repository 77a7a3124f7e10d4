"""Pictures to edit: simulated pairs, of which the true target and the exact mask are known, or the user's own."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.editing.tasks import KINDS, Task, wanted_tasks
from nbhelpers.errors import UserError
from nbhelpers.images.files import is_deep, read_gray, read_image, to_gray, to_rgb
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import read_listed
from nbhelpers.simulator.acquisition import PHYSICS, draw_devices, expose, frame_patient
from nbhelpers.simulator.anatomy import build_patient, draw_chest
from nbhelpers.simulator.film import complete_attributes
from nbhelpers.simulator.lesions import draw_lesion
from nbhelpers.simulator.overlays import choose_field, draw_overlays

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# A plain detector: JPEG, local equalisation and edge enhancement would carry a change far from where it is.
_PLAIN = replace(PHYSICS["roentgen"], compress=0.0, sharpen=(0.0, (0.0, 0.0)), captions=0.0, markers=0.0)
_OVERLAYS = {"lettering": replace(_PLAIN, captions=1.0, markers=1.0), "watermark": replace(_PLAIN, watermark=True)}
_DEVICES = {"pacemaker": {"pacemaker"}, "lines": {"central_line", "ecg_leads", "nasogastric_tube"}}
_LEAST = 3  # grey levels by which a pixel belongs to the change
_EDGE = 3.0  # pixels at 512 over which a change fades in at the mask's edge
LARGEST = 4096  # pixels a side of an own picture: no editor takes more
SMALLEST = 64
_TRUE = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, what is asked of it, and what is known of the right answer."""

    image_id: str
    task: str  # a task's name, or `own`
    kind: str  # of `tasks.KINDS`
    instruction: str
    image: Pixels  # (h, w, 3), RGB
    mask: Mask | None = None  # where to edit; all False where nothing is to change, None where it is not known
    target: Pixels | None = None  # the true answer
    donor: Pixels | None = None  # another patient's film that has what is wanted at `donor_mask`
    donor_mask: Mask | None = None
    patient: bool = False  # whether a patient's picture, which goes to no service that is not named for it
    simulated: bool = False
    chest_film: bool = False
    lesion: bool = False  # whether the change is a lesion's
    caption: str = ""  # what the right answer shows; empty where nobody says
    shows: str = ""  # equal for edits of one picture, or patient, which intervals take together; else `image_id`

    @property
    def known(self) -> dict[str, NDArray]:
        """What only an editor on this machine may read, by name."""
        held = {"target": self.target, "donor": self.donor, "donor_mask": self.donor_mask}
        return {name: value for name, value in held.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Patient:
    """A simulated patient whose film is taken again and again with one and the same acquisition."""

    pair_seed: int
    seed: int
    size: int
    attributes: Mapping[str, str] = field(default_factory=dict)

    def film(self, things: Sequence[str] = ()) -> Pixels:
        """The film, uint8 `(size, size)`, with the things named: `consolidation`, `pacemaker`, `lines`, `lettering`,
        `watermark`. Window, scatter, noise and framing are those of the film with none of them."""
        full = complete_attributes({"label": "pneumonia", **self.attributes}, self.pair_seed, self.seed)
        field_box, shade = choose_field(_PLAIN, self.size, self.seed)
        patient = build_patient(full, self.pair_seed)
        # Room for a watermark, whether there is one or not.
        canvas = frame_patient(patient, _OVERLAYS["watermark"], field_box, self.size, self.seed)
        chest = draw_chest(patient, canvas)
        added = np.zeros_like(chest.attenuation)
        for name, devices in _DEVICES.items():
            if name in things:
                added += draw_devices(chest, canvas, devices, self.pair_seed)
        if "consolidation" in things:
            added += draw_lesion(chest, canvas, full, self.seed).added
        film = expose(chest.attenuation, added, canvas, field_box, _PLAIN, "normal", self.seed)
        for name, physics in _OVERLAYS.items():
            if name in things:
                film = draw_overlays(film, field_box, shade, physics, full, self.seed)[0]
        return film

    def pair(self, before: Sequence[str], after: Sequence[str]) -> tuple[Pixels, Pixels, Mask]:
        """Film before and after an edit, and the mask of the change: outside it not one pixel differs."""
        start, end = self.film(before), self.film(after)
        return composed(start, end)


def composed(start: Pixels, end: Pixels) -> tuple[Pixels, Pixels, Mask]:
    """`start`, the film into which `end` fades within the mask of their difference, and that mask; grey `(h, w)`."""
    scale = start.shape[0] / 512
    different = np.abs(start.astype(np.int16) - end) >= _LEAST
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    core = cv2.morphologyEx(different.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    core = cv2.dilate(core, kernel, iterations=max(round(2 * scale), 1))
    depth = cv2.distanceTransform(core, cv2.DIST_L2, 3)
    share = np.clip(depth / max(_EDGE * scale, 1.0), 0, 1)
    target = np.rint(start + share * (end.astype(np.float32) - start)).astype(np.uint8)
    return start, target, core > 0


def rgb(gray: Pixels) -> Pixels:
    """A grey picture `(h, w)` as RGB `(h, w, 3)`."""
    return np.repeat(gray[..., None], 3, axis=2)


def some_patient(rng: np.random.Generator, size: int, attributes: Mapping[str, str]) -> Patient:
    """A patient of the next two numbers of a generator."""
    pair_seed, seed = (int(number) for number in rng.integers(2**31, size=2))
    return Patient(pair_seed, seed, size, attributes)


def simulated_pictures(tasks: Sequence[Task], number: int, size: int, seed: int) -> list[Picture]:
    """`number` simulated patients under each task, with true target and exact mask; the same patients for all tasks."""
    return [_simulated(task, place, size, seed) for task in tasks for place in range(number)]


def _simulated(task: Task, place: int, size: int, seed: int) -> Picture:
    attributes = {"age_group": "adult", "pattern": "lobar", "extent": "moderate", "side": task.side, "lobe": task.lobe}
    ours, theirs = (some_patient(np.random.default_rng([seed, part, place]), size, attributes) for part in (6, 7))
    if task.simulated == "nothing":
        start = target = ours.film(("pacemaker", "lettering"))
        mask, known = np.zeros(start.shape, bool), dict[str, Any]()
    else:
        things: tuple[tuple[str, ...], ...] = ((str(task.simulated),), ())
        before, after = things if task.kind == "remove" else things[::-1]
        start, target, mask = ours.pair(before, after)
        # What is wanted in another patient; to take something off, what lies at the same place there.
        donor, donor_mask = theirs.pair(before, after)[1:] if task.kind == "add" else (theirs.film(), mask)
        known = {"donor": rgb(donor), "donor_mask": donor_mask}
    return Picture(
        f"patient_{place:03d}", task.name, task.kind, task.instruction, rgb(start), mask, rgb(target), **known,
        simulated=True, chest_film=True, lesion=task.simulated == "consolidation", caption=task.caption,
    )  # fmt: skip


def own_pictures(table: Path, known: Mapping[str, Task]) -> list[Picture]:
    """The pictures of a CSV `path,prompt[,mask][,target][,kind][,patient][,chest_film][,caption]`; all faults at once.

    Paths count from the table's folder and cannot leave it. `prompt` is a task's name or an instruction in words,
    `kind` one of `tasks.KINDS` (`replace` where neither says). `patient: no` says that the picture is no patient's,
    who is assumed otherwise; `chest_film: yes` lets lungs be compared. Mask and target have the picture's size.
    """
    listed = read_listed(table, ("path", "prompt"), "editing_pictures")
    stems = {
        line: re.sub(r"[^A-Za-z0-9_-]+", "_", Path(path).stem).strip("_-")[:64] for line, path in listed["path"].items()
    }
    seen = Counter(stem.lower() for stem in stems.values())  # names of files, which may not tell capitals apart
    names = {line: f"{stem}_{line}" if seen[stem.lower()] > 1 or not stem else stem for line, stem in stems.items()}
    found, faults = [], []
    for line, row in listed.iterrows():
        try:
            given = {str(name): value for name, value in row.items() if isinstance(value, str)}
            found.append(_own(given, table, f"{table.name}, line {line}", names[line], known))
        except UserError as error:
            faults.append(error)
    if faults:
        raise UserError.of(faults)
    return found


def _own(row: Mapping[str, str], table: Path, where: str, name: str, known: Mapping[str, Task]) -> Picture:
    if "prompt" not in row:
        raise UserError("no prompt", where, "give a task's name or an instruction")
    task = known.get(row["prompt"])
    kind = row.get("kind", task.kind if task else "replace").lower()
    if kind not in KINDS:
        raise UserError(f"unknown kind {kind!r}", where, suggest(kind, KINDS))
    if task is None and re.fullmatch(r"\w+_\w+", row["prompt"]):  # a name, and none that is known
        raise UserError(f"unknown task {row['prompt']!r}", where, suggest(row["prompt"], known))
    flags = {one: _flag(row.get(one), one, where) for one in ("patient", "chest_film")}
    image = _read(inside(table.parent, row["path"]))
    if not SMALLEST <= min(image.shape[:2]) <= max(image.shape[:2]) <= LARGEST:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise UserError(f"an image of {size} pixels", where, f"use {SMALLEST} to {LARGEST} pixels a side")
    target = to_rgb(read_image(inside(table.parent, row["target"]), LARGEST**2)) if "target" in row else None
    mask = np.zeros(image.shape[:2], bool) if kind == "keep" else None
    if "mask" in row and kind != "keep":
        mask = read_gray(inside(table.parent, row["mask"])) > 127
    for what, other in (("mask", mask), ("target", target)):
        if other is not None and other.shape[:2] != image.shape[:2]:
            sizes = f"{other.shape[1]} x {other.shape[0]} for an image of {image.shape[1]} x {image.shape[0]}"
            raise UserError(f"the {what} is {sizes}", where, "give both the same size")
    if mask is not None and kind != "keep" and mask.any() == mask.all():
        raise UserError(
            "the mask is empty, or covers the whole image", where, "make what is to change white and the rest black"
        )
    if kind == "keep":
        target = image
    instruction, named = (task.instruction, task.name) if task else (row["prompt"], "own")
    return Picture(
        name, named, kind, instruction, image, mask, target,
        patient=flags["patient"] is not False, chest_film=bool(flags["chest_film"]),
        lesion=task is not None and task.simulated == "consolidation",
        caption=row.get("caption", task.caption if task else ""),
        shows=hashlib.sha256(image.tobytes()).hexdigest()[:12],
    )  # fmt: skip


def _flag(cell: str | None, name: str, where: str) -> bool | None:
    if cell is not None and cell.lower() not in _TRUE:
        raise UserError(f"{name} is {cell!r}", where, "use yes or no")
    return None if cell is None else _TRUE[cell.lower()]


def _read(path: Path) -> Pixels:
    image = read_image(path, LARGEST**2)
    return rgb(to_gray(image)) if is_deep(image) else to_rgb(image)


def load_pictures(parameters: Mapping[str, Any]) -> list[Picture]:
    """The pictures that `editing_tasks` and `editing_pictures` ask for: simulated, or those of the user's table."""
    known, simulated = wanted_tasks(parameters["editing_tasks"])
    wanted = parameters["editing_pictures"]
    if isinstance(wanted, str):
        return own_pictures(user_path(wanted), known)
    return simulated_pictures(simulated, wanted, int(parameters["editing_size"]), int(parameters["seed"]))


def check_pictures(parameters: Mapping[str, Any]) -> list[Picture]:
    """The user's own pictures, once tasks and table are in order; what the simulator draws is not drawn for that."""
    if isinstance(parameters["editing_pictures"], str):
        return load_pictures(parameters)
    if not wanted_tasks(parameters["editing_tasks"])[1]:
        do = "name tasks that can be simulated, or your own table of images in editing_pictures"
        raise UserError("no task has an image", "editing_tasks", do)
    return []
