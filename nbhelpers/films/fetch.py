"""Get a public data set from Kaggle and put it where it is looked for: `python -m nbhelpers fetch rsna` (or `kermany`).

Needs the optional package kagglehub (`pip install -e ".[data]"`) and a Kaggle account. Nothing is fetched unasked.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.films import rsna
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.stage import data_root

TOKEN = (
    "make a token at https://www.kaggle.com/settings (API, Create New Token), then set KAGGLE_API_TOKEN, or "
    "KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json into ~/.kaggle/"
)


@dataclass(frozen=True)
class Recipe:
    """How one data set is had.

    `handle` is Kaggle's name, of a competition or a data set; `folder` where it goes below the data root; `parts` what
    the folder must hold; `gibibytes` the free disk space that archive and films need together; `terms` its licence.
    """

    handle: str
    competition: bool
    folder: str
    parts: tuple[str, ...]
    gibibytes: float
    terms: str

    @property
    def page(self) -> str:
        """The page to read, and to accept rules on."""
        kind = "competitions" if self.competition else "datasets"
        return f"https://www.kaggle.com/{kind}/{self.handle}"


RECIPES = {
    "rsna": Recipe(
        handle="rsna-pneumonia-detection-challenge",
        competition=True,
        folder="rsna",
        parts=(rsna.IMAGES, rsna.LABELS, rsna.CLASSES),
        gibibytes=8.5,
        terms=rsna.LICENCE,
    ),
    "kermany": Recipe(
        handle="paultimothymooney/chest-xray-pneumonia",
        competition=False,
        folder="kermany",
        parts=("train", "test"),
        gibibytes=5.0,
        terms="Chest X-Ray (Kermany et al. 2018, Mendeley Data, doi 10.17632/rscbjbr9sj): CC BY 4.0; cite Kermany et "
        "al., Cell 2018.",
    ),
}


def fetch(name: str, root: Path | None = None) -> Path:
    """Get a data set and give the folder that holds it; what is there already is left as it is.

    An interrupted download goes on where it stopped when the command is given again.

    `name` is a key of `RECIPES`; `root` the data root, `runs.stage.data_root()` when None.

    Raises
    ------
    UserError
        When kagglehub or a Kaggle account is missing, its rules are not accepted, Kaggle cannot be reached, the disk
        is too small, or a folder of this name is there but is not the data set.
    """
    if name not in RECIPES:
        raise UserError(f"{name!r} cannot be fetched", "fetch", suggest(name, RECIPES))
    recipe = RECIPES[name]
    root = data_root() if root is None else root
    target = root / recipe.folder
    if _is_whole(target, recipe):
        print(f"{name} already exists: {target}")
        return target
    if target.exists():
        lacking = ", ".join(part for part in recipe.parts if not _has(target, part))
        raise UserError(f"the folder exists, but lacks {lacking}", str(target), "complete it, or move it away")
    try:
        import kagglehub
    except ImportError:
        raise UserError("the package kagglehub is missing", "", 'pip install -e ".[data]"') from None
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free / 2**30
    if free < recipe.gibibytes:
        raise UserError(
            f"{free:.1f} GiB are free, {name} needs about {recipe.gibibytes:.1f} GiB", str(root), "free some disk space"
        )
    print(f"{recipe.terms}\n{recipe.page}\ndownloading to {target}")
    work = root / f".fetching-{name}"  # on the same disk, so that the end is a rename
    found = _find(_download(kagglehub, recipe, work), recipe)
    if found.is_relative_to(work):
        found.rename(target)
        shutil.rmtree(work, ignore_errors=True)
    else:
        # On Kaggle and Colab the package gives a folder that is mounted there already.
        target.symlink_to(found, target_is_directory=True)
    return target


def _download(kagglehub: Any, recipe: Recipe, work: Path) -> Path:
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(work)
    try:
        get = kagglehub.competition_download if recipe.competition else kagglehub.dataset_download
        return Path(get(recipe.handle))
    except Exception as error:  # sorted below: what is not understood goes on as it is
        raise _explained(error, recipe) from None
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


def _explained(error: Exception, recipe: Recipe) -> Exception:
    """A `UserError` for what a user can mend; told by class names, since the packages behind it are optional."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if kinds & {"UnauthenticatedError", "CredentialError"} or status == 401:
        return UserError("Kaggle needs a login", recipe.page, TOKEN)
    if status == 403:
        return UserError(
            "Kaggle refused access", recipe.page, "log in there and accept the rules, then give the command again"
        )
    if status == 404:
        return UserError("Kaggle no longer has this data set", recipe.page, "get it elsewhere; see the README")
    if kinds & {"ConnectionError", "Timeout", "ProxyError"} or status is not None:
        said = f"status {status}" if status else type(error).__name__
        return UserError(
            f"Kaggle cannot be reached ({said})",
            recipe.page,
            "check the network and give the command again: the download resumes",
        )
    if isinstance(error, OSError):
        return UserError(f"the download cannot be written: {error}", recipe.page, "check the disk")
    return error


def _has(folder: Path, part: str) -> bool:
    return (folder / part).exists() or (folder / f"{part}.zip").exists()


def _is_whole(folder: Path, recipe: Recipe) -> bool:
    return all(_has(folder, part) for part in recipe.parts)


def _find(folder: Path, recipe: Recipe) -> Path:
    """The outermost folder that holds the parts: archives wrap them in one or two more."""
    for candidate in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))):
        if _is_whole(candidate, recipe):
            return candidate
    wanted = ", ".join(recipe.parts)
    raise UserError(f"the download does not contain {wanted}", str(folder), "look there, and move the films by hand")
