"""Editors by the names of the parameter file, and all edits of a list by all of them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.image_models import access
from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress

BUDGET = "editing_budget_usd"  # the parameter that bounds what is paid
HERE = ("nothing", "inpainting", "poisson", "simulator", "careless")
# Each is made from `(name, settings)`; modules are imported when a file names them.
EDITORS = {
    **dict.fromkeys(HERE, "nbhelpers.image_models.editors.local:LocalEditor"),
    **dict.fromkeys(("gemini", "openai", "ark", "bfl"), "nbhelpers.image_models.editors.remote:ServiceEditor"),
    "diffusers": "nbhelpers.image_models.editors.diffusion:DiffusersEditor",
    "folder": "nbhelpers.image_models.editors.brought:FolderEditor",
    "withdrawn": "nbhelpers.image_models.editors.brought:WithdrawnEditor",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")  # with a suffix, it fits into any file system


def make_editors(spec: Mapping[str, Mapping[str, Any] | None], parameters: Mapping[str, Any]) -> list[Editor]:
    """The editors that `editors` of the parameter file names, in its order.

    `spec` gives each its settings; its `provider` is its name where none is said. All that is wrong with all of them is
    one `UserError`. `parameters` are the experiment's: an editor that runs here takes `device` and `seed` from them.
    """
    made, faults = [], []
    for name, given in spec.items():
        where = f"editors, {name}"
        if given is not None and not isinstance(given, Mapping):
            faults.append(UserError(f"{name!r} is {given!r}", "editors", "an editor is {provider: ..., ...}"))
            continue
        settings = {"provider": name} | dict(given or {})
        provider = settings["provider"]
        if not _NAME.fullmatch(str(name)):
            faults.append(UserError(f"{name!r} cannot name files", "editors", "use letters, digits, '_' and '-'"))
        elif sum(str(name).lower() == str(other).lower() for other in spec) > 1:
            faults.append(UserError(f"two editors {name!r}, capitals aside", "editors", "name one otherwise"))
        elif not isinstance(provider, str) or provider not in EDITORS:
            faults.append(UserError(f"unknown provider {provider!r}", where, suggest(provider, EDITORS)))
        else:
            module, _, maker = EDITORS[provider].partition(":")
            if provider == "diffusers":
                settings = {key: parameters[key] for key in ("device", "seed") if key in parameters} | settings
            try:
                made.append(getattr(importlib.import_module(module), maker)(str(name), settings))
            except UserError as error:
                faults += [UserError(part.what, part.where or where, part.do) for part in error.parts or (error,)]
            except ModuleNotFoundError as error:
                do = 'pip install -e ".[roentgen]"' if provider == "diffusers" else "install it"
                faults.append(UserError(f"{name!r} needs the module {error.name!r}", where, do))
    if faults:
        raise UserError.of(faults)
    return made


def check_sending(editors: Sequence[Editor], requests: Sequence[EditRequest], send_to: Sequence[str]) -> None:
    """A `UserError` where patients' pictures would go to a service that `send_patient_films_to` does not name."""
    patients = sum(request.patient for request in requests)
    services = [editor.service for editor in editors] if patients else []
    access.check_sending(services, f"{patients} patient images", send_to)


def plan_all(editors: Sequence[Editor], requests: Sequence[EditRequest], folder: Path) -> pd.DataFrame:
    """What `edit_all` would ask for and may cost, a row an editor; nothing is sent, paid, locked or written.

    Columns `editor, provider, model, edits`, and of those that cost `here, given_up, still_wanted, usd_per_image,
    estimate_usd, spent_usd` (of the folder, by all editors) and `price_list`.
    """
    _check_ids(requests)
    facts = [
        {"editor": editor.name, "provider": editor.provider, "edits": len(requests), **editor.plan(requests, folder)}
        for editor in editors
    ]
    columns = ["editor", "provider", "model", "edits", "here", "given_up", "still_wanted", "usd_per_image"]
    return pd.DataFrame(facts).reindex(columns=[*columns, "estimate_usd", "spent_usd", "price_list"])


def edit_all(
    editors: Sequence[Editor], requests: Sequence[EditRequest], folder: Path, *, budget_usd: float
) -> dict[tuple[str, str], EditAnswer]:
    """The answers of all editors to all requests, by editor's name and edit's id.

    Those that are paid are asked at the same time, with one ledger and one budget for the folder's whole life. What
    `folder` holds is not asked for again. A `UserError` before anything is sent (no key, a model that is gone, an
    estimate over the budget), and at the end while answers are missing that a later run may still bring.
    """
    _check_ids(requests)
    folder = Path(folder)
    answers: dict[tuple[str, str], EditAnswer] = {}
    paid = [editor for editor in editors if editor.service]
    if paid:
        from nbhelpers.image_models.editors.remote import buy

        answers |= buy(paid, requests, folder, budget_usd)
    here = [editor for editor in editors if not editor.service]
    for editor in progress(here, desc="editing here", total=len(here), unit="editor") if len(here) > 1 else here:
        found = editor.edit_all(requests, folder)
        answers |= {(editor.name, edit_id): answer for edit_id, answer in found.items()}
    # In the order of the editors, and not of who was first.
    return {(editor.name, one.edit_id): answers[editor.name, one.edit_id] for editor in editors for one in requests}


def _check_ids(requests: Sequence[EditRequest]) -> None:
    ids = [request.edit_id for request in requests]
    bad = next((one for one in ids if not _NAME.fullmatch(one)), None)
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if bad is not None or twice is not None:
        what = f"edit {bad!r} cannot name files" if bad is not None else f"edit {twice!r} is requested twice"
        raise UserError(what, "edits", "give each an id of its own, of letters, digits, '_' and '-'")
