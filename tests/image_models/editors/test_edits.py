"""What one edit is, and an editor's settings."""

import pytest

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors.edits import settings_of

KNOWN = {"steps": (int, 28), "quality": (str | None, None)}


def test_settings_are_taken_over_the_defaults():
    assert settings_of("x", {"provider": "openai", "steps": 4}, KNOWN) == {"steps": 4, "quality": None}


def test_all_wrong_settings_are_one_error():
    with pytest.raises(UserError, match="2 faults") as told:
        settings_of("x", {"step": 4, "quality": 3}, KNOWN)
    assert "did you mean 'steps'" in str(told.value) and "use text or nothing" in str(told.value)
    assert {part.where for part in told.value.parts} == {"editors, x"}
