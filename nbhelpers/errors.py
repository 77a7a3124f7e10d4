"""The one kind of error that a user is meant to read."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """What is wrong, where, and what to do about it, in one message and without a traceback.

    Raised for bad input (a file, a parameter, a data set, a key); defects keep their own type and their traceback.

    Parameters
    ----------
    what : str
        What is wrong.
    where : str
        The file, parameter or column that it was found in; may be empty.
    do : str
        What the reader can do now; may be empty.
    """

    exit_code = 2  # of the command line
    parts: tuple[UserError, ...] = ()  # of one that stands for several

    def __init__(self, what: str, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, str(where), do
        super().__init__(what, self.where, do)

    @classmethod
    def of(cls, errors: Sequence[UserError]) -> UserError:
        """One error for one or more; several become a table, a line each, with their place where it is not the same."""
        errors = [part for error in errors for part in error.parts or (error,)]
        if len(errors) == 1:
            return errors[0]
        places = {error.where for error in errors}
        width = max(len(error.what) for error in errors)
        lines = [
            f"  {error.what:<{width}}"
            + (f" [{error.where}]" if error.where and len(places) > 1 else "")
            + (f" -> {error.do}" if error.do else "")
            for error in errors
        ]
        heading = f"{len(errors)} faults" + (f" [{errors[0].where}]" if len(places) == 1 else "")
        several = cls("\n".join((heading, *lines)))
        several.parts = tuple(errors)
        return several

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{self.what}{place}" + (f" -> {self.do}" if self.do else "")

    def _render_traceback_(self) -> list[str]:
        # IPython asks an exception for this; a reader of a notebook gets the message and no stack.
        return [f"{type(self).__name__}: {self}"]
