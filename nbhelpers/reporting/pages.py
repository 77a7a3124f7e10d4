"""The HTML pages of a run, each from its template in `templates/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from nbhelpers.runs.files import write_bytes

BASE = "base.html"  # what the other templates stand on; named here, as a part of what a report depends on


def write_page(path: Path, template: str, **shown: Any) -> Path:
    """Write the page that a template makes of what is shown; text becomes no markup. Returns the path.

    A name that the template asks for and is not given is a `jinja2.UndefinedError`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_bytes(path, environment.get_template(template).render(**shown).encode())
    return path
