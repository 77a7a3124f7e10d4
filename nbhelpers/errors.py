"""The one kind of error that a user is meant to read."""

from __future__ import annotations


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

    def __init__(self, what: str, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, str(where), do
        super().__init__(what, self.where, do)

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{self.what}{place}" + (f" -> {self.do}" if self.do else "")

    def _render_traceback_(self) -> list[str]:
        # IPython asks an exception for this; a reader of a notebook gets the message and no stack.
        return [f"{type(self).__name__}: {self}"]
