"""The API key for Gemini: from the environment alone."""

from __future__ import annotations

import os

from nbhelpers.errors import UserError

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # the SDK's order: the first wins


def api_key() -> str:
    """The key from `GOOGLE_API_KEY` or `GEMINI_API_KEY`; a `UserError` when there is none."""
    for name in KEY_VARIABLES:
        value = os.environ.get(name, "").strip()
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            raise UserError("the API key holds characters that no key has", name, "copy it again, without quotes")
        if value:
            return value
    raise UserError(
        "no API key for Gemini",
        "environment",
        "export GEMINI_API_KEY=... before starting (https://aistudio.google.com/apikey); it is never a parameter",
    )
