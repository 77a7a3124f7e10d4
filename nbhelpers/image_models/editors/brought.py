"""Editors that nobody is asked of here: pictures that someone made elsewhere, and systems that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.image_models.geometry import resized
from nbhelpers.images.files import SUFFIXES, copy_original, decode, to_rgb
from nbhelpers.runs.files import inside
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import read_listed

MOST_BYTES = 2**28  # of one picture's file
_SUFFIXES = {*SUFFIXES.values(), ".jpeg", ".tiff"}


class FolderEditor(Editor):
    """Pictures brought from elsewhere: named `<edit_id>.<suffix>` in a folder, or listed in a CSV `edit_id,path`.

    Settings: `path`, which counts from the project's root; those in a CSV count from its folder.
    """

    model = "brought"
    SETTINGS: ClassVar[dict[str, tuple[Any, Any]]] = {"path": (str, "")}

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self.where = user_path(self.own["path"])
        if not self.own["path"] or not self.where.exists():
            do = "set path to a folder of images <edit_id>.png, or to a CSV edit_id,path"
            raise UserError(f"no images at {self.own['path']!r}", f"editors, {name}", do)

    def _files(self) -> dict[str, Path]:
        """Each picture's file, by edit's id."""
        if self.where.is_file():
            table = read_listed(self.where, ("edit_id", "path"), f"editors, {self.name}")
            pairs = [(str(row["edit_id"]), inside(self.where.parent, row["path"])) for row in table.to_dict("records")]
        else:
            files = sorted(self.where.iterdir())
            pairs = [(path.stem, path) for path in files if path.suffix.lower() in _SUFFIXES]
        found: dict[str, Path] = {}
        for edit_id, path in pairs:
            if edit_id in found:
                raise UserError(f"two images for edit {edit_id!r}", str(self.where), "keep one of them")
            found[edit_id] = path
        return found

    def edit_all(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, EditAnswer]:
        """The brought pictures, copied as they are; of another size they are stretched to the request's, which is said.

        A `UserError` when there is none for any request.
        """
        files = self._files()
        if requests and not any(request.edit_id in files for request in requests):
            do = f"name the images like the edits, e.g. {requests[0].edit_id}.png"
            raise UserError(f"no image for any of the {len(requests)} edits", str(self.where), do)
        return {request.edit_id: self._answer(request, files.get(request.edit_id), folder) for request in requests}

    def _answer(self, request: EditRequest, path: Path | None, folder: Path) -> EditAnswer:
        if path is None or not path.is_file():
            return EditAnswer("no_answer", model=self.model, detail="no image was provided")
        try:
            if path.stat().st_size > MOST_BYTES:
                raise UserError(f"{path.stat().st_size} bytes are too many")
            data = path.read_bytes()
            image = to_rgb(decode(data, path.name))
            kept = copy_original(data, folder, f"{self.name}_{request.edit_id}")
        except (UserError, OSError) as error:
            return EditAnswer("broken", model=self.model, detail=getattr(error, "what", str(error)))
        height, width = image.shape[:2]
        same = image.shape == request.image.shape
        asked = f"{request.image.shape[1]} x {request.image.shape[0]}"
        detail = "" if same else f"provided at {width} x {height}, resized to {asked}"
        back = resized(image, request.image.shape)
        return EditAnswer("edited", back, kept, self.model, width, height, detail=detail)


class WithdrawnEditor(Editor):
    """A system that can no longer be asked, or that nobody serves here: a row of its own, never left out in silence.

    Settings: `note`, what is to be said of it, and `model`.
    """

    SETTINGS: ClassVar[dict[str, tuple[Any, Any]]] = {"note": (str, "withdrawn"), "model": (str, "")}

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self.model = self.own["model"] or self.own["note"]

    def edit_all(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, EditAnswer]:
        """No answer to any request, with the note as the reason."""
        return {
            one.edit_id: EditAnswer("no_answer", model=self.own["model"], detail=self.own["note"]) for one in requests
        }
