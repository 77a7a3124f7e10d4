"""Pages of a run: on one base, with nothing from elsewhere, and text that stays text."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from nbhelpers.pipeline.plan import library_files
from nbhelpers.reporting import pages

TEMPLATES = sorted(Path(pages.__file__).with_name("templates").glob("*.html"))


def test_a_page_is_written_and_text_becomes_no_markup(tmp_path: Path) -> None:
    page = pages.write_page(tmp_path / "a.html", "checklists.html", run="<b>demo</b>", checklists=[])
    assert "run &lt;b&gt;demo&lt;/b&gt;" in page.read_text() and "<b>" not in page.read_text()


def test_a_value_that_is_missing_is_no_empty_space(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="checklists"):
        pages.write_page(tmp_path / "a.html", "checklists.html", run="demo")
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_loads_nothing_from_elsewhere_and_is_a_part_of_what_a_report_depends_on(template: Path) -> None:
    assert not re.search(r"https?://|<script|@import|url\(", template.read_text())
    assert template in library_files("from nbhelpers.reporting import handout, report")
