"""Who may be asked: API keys and endpoints, from the environment alone, and where patients' films may go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from nbhelpers.errors import UserError
from nbhelpers.runs.parameters import suggest

DEADLINE_S = 180.0  # of one request as a whole, where nothing else is said


@dataclass(frozen=True)
class Access:
    """How a service is reached: variables of the environment, and where its keys come from."""

    title: str
    keys: tuple[str, ...]  # the first that is set wins, as the service's own SDK has it
    endpoint: str  # variable
    default: str  # endpoint where the variable is not set; empty leaves it to the SDK
    where: str  # its keys are made


SERVICES = {
    "gemini": Access(
        *("Gemini", ("GOOGLE_API_KEY", "GEMINI_API_KEY"), "GOOGLE_GEMINI_BASE_URL", ""),
        "https://aistudio.google.com/apikey",
    ),
    "openai": Access(
        *("OpenAI", ("OPENAI_API_KEY",), "OPENAI_BASE_URL", "https://api.openai.com/v1"),
        "https://platform.openai.com/api-keys",
    ),
    "ark": Access(
        *("Ark (Seedream)", ("ARK_API_KEY",), "ARK_BASE_URL", "https://ark.ap-southeast.bytepluses.com/api/v3"),
        "https://console.byteplus.com/ark",
    ),
    "bfl": Access(
        *("Black Forest Labs", ("BFL_API_KEY",), "BFL_BASE_URL", "https://api.bfl.ai"), "https://dashboard.bfl.ai"
    ),
}


def api_key(service: str = "gemini") -> str:
    """The key of a service of `SERVICES` from its own variables; a `UserError` when there is none."""
    access = SERVICES[service]
    for name in access.keys:
        value = os.environ.get(name, "").strip()
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            raise UserError(
                "the API key holds characters that do not occur in keys", name, "copy it again, without quotes"
            )
        if value:
            return value
    raise UserError(
        f"no API key for {access.title}",
        "environment",
        f"export {access.keys[-1]}=... before starting ({access.where}); it is never a parameter",
    )


def endpoint(service: str = "gemini") -> str:
    """Where a service is asked; a `UserError` when its variable is set to something that is no web address."""
    access = SERVICES[service]
    url = os.environ.get(access.endpoint, "").strip()
    try:
        parts = urlsplit(url or "https://x")
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        do = "give a whole URL, such as https://example.org, or unset it"
        raise UserError("the endpoint is no web address", access.endpoint, do)
    return (url or access.default).rstrip("/")


def check_sending(services: Iterable[str], what: str, send_to: Sequence[str]) -> None:
    """A `UserError` where pictures of patients, `what`, would go to a service that `send_to` does not name."""
    where = "send_patient_films_to"
    if unknown := [name for name in send_to if name not in SERVICES]:
        raise UserError(f"unknown service {unknown[0]!r}", where, suggest(unknown[0], SERVICES))
    if barred := [name for name in dict.fromkeys(services) if name and name not in send_to]:
        do = f"if they may leave this machine, set send_patient_films_to: [{', '.join([*send_to, *barred])}]"
        raise UserError(f"{what} would go to {', '.join(barred)}", where, do)
