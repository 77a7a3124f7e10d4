"""One edit that is wanted, and what an editor answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.runs.parameters import Declaration, fault, suggest


@dataclass(frozen=True, eq=False)
class EditRequest:
    """One edit, wanted of every editor alike."""

    edit_id: str  # unique in a run, and part of file names: letters, digits, `_` and `-`
    image: NDArray[np.uint8]  # (h, w, 3), RGB
    instruction: str
    mask: NDArray[np.bool_] | None = None  # (h, w): where to edit; a hint, which not every editor takes
    patient: bool = True  # whether the picture is a patient's, and so goes to no service that is not named for it
    # What only editors on this machine may read, by name: `target` (the true picture), `donor` and `donor_mask`.
    known: Mapping[str, NDArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class EditAnswer:
    """What an editor answered to one request."""

    # Of `runs.tables.EDIT_ANSWERS`. Whether a picture that came is `edited` or `unchanged` is for whoever measures it;
    # `no_answer`: nobody was asked (an editor that is withdrawn), or no picture was brought.
    kind: str
    image: NDArray[np.uint8] | None = None  # (h, w, 3) as the request's, geometry undone; None where no picture came
    path: str = ""  # the picture's file as it came, relative to the editors' folder; empty where none is kept
    model: str = ""  # the id that answered
    width: int | None = None  # pixels, as returned
    height: int | None = None
    width_asked: int | None = None  # pixels; None where no size can be asked for
    height_asked: int | None = None
    seconds: float | None = None  # from the request to the whole reply
    cost_usd: float | None = None  # counted from what the reply tells, over all attempts; None where nothing is paid
    detail: str = ""  # the reason, where the answer is no finished picture


class Editor:
    """An editor by its name in the parameter file, and its settings over the defaults of `known`."""

    SETTINGS: ClassVar[dict[str, tuple[Any, Any]]] = {}  # name: type and default
    model = ""  # what stands behind it, in a few words or by its id
    service = ""  # the name that `send_patient_films_to` must hold; empty for an editor on this machine

    def __init__(
        self, name: str, settings: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]] | None = None
    ) -> None:
        self.name, self.provider = name, str(settings.get("provider", name))
        self.own = settings_of(name, settings, self.SETTINGS if known is None else known)

    def plan(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, object]:
        """What `edit_all` would ask for and may cost (US dollars); nothing is sent, paid, locked or written."""
        return {"model": self.model}

    def edit_all(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, EditAnswer]:
        """An answer for each request, by `edit_id`; what `folder` holds already is not asked for again.

        Those with a `service` are asked together, by `registry.edit_all`.
        """
        raise NotImplementedError


def settings_of(
    name: str, given: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]], parameter: str = "editors"
) -> dict[str, Any]:
    """The settings of `name` over the defaults of `known` (each a type and a default); all that is wrong is one error.

    `parameter` is what they stand in. A `provider` among them is no setting.
    """
    where = f"{parameter}, {name}"
    faults = []
    for key, value in given.items():
        if key == "provider":
            continue
        if key not in known:
            faults.append(UserError(f"unknown setting {key!r}", where, suggest(key, known)))
        elif wrong := fault(key, value, Declaration(key, "", *known[key], "", ""), where):
            faults.append(wrong)
    if faults:
        raise UserError.of(faults)
    return {key: given.get(key, default) for key, (_, default) in known.items()}
