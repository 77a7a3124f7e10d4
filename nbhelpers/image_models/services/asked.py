"""What services asked over HTTP have in common: statuses and bytes as outcomes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.outcomes import Outcome, as_mapping, line, retry_after
from nbhelpers.images.files import decode, sniff_format

# By the codes that services give; whether an answer or a prompt was held back is told where it is known.
_BLOCKED = re.compile(r"moderation|sensitive|content_policy|content_filter|safety|copyright", re.IGNORECASE)
_NO_CREDIT = re.compile(r"insufficient_quota|billing|overdue|insufficient.?(credit|balance)|credits", re.IGNORECASE)


def from_status(status: int, body: object, headers: Mapping[str, str] | None = None) -> Outcome:
    """Class of an HTTP error (or of an error object within a reply), from its status, body and headers."""
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            body = {"message": body}
    told = as_mapping(body)
    error = as_mapping(told.get("error")) or told
    code = str(error.get("code") or error.get("type") or "")
    message = error.get("message") or error.get("detail") or (error.get("error") if error else body) or ""
    said = line(f"{status} {code} {message}")
    wait = retry_after(headers or {})
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT.search(code)):
        return Outcome("quota_day", said, billed=False, fatal=True)
    if status < 500 and _BLOCKED.search(code):
        return Outcome("image_blocked" if "output" in code.lower() else "prompt_blocked", said, billed=False)
    if status == 429:
        return Outcome("quota_minute", said, wait=wait, billed=False)
    if status in (408, 409, 425, 499) or status >= 500:
        return Outcome("server", said, wait=wait, billed=False)
    return Outcome("configuration", said, billed=False, fatal=status not in (400, 413, 422))


def from_bytes(data: bytes, facts: Mapping[str, Any]) -> Outcome:
    """The outcome of a picture that came as bytes: `ok` where it can be decoded, else `corrupt`."""
    try:
        if sniff_format(data) is None:
            raise UserError("the image format is unknown")
        decode(data)
    except UserError as error:
        return Outcome("corrupt", error.what, data, facts=dict(facts))
    return Outcome("ok", "", data, facts=dict(facts))
