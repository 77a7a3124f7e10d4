"""Simulated images drawn and cropped once for all tests of the package."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from cropping.cropping_fixture import ARMS

from nbhelpers.cropping import crop
from nbhelpers.prompting import drawing, prompts


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("drawn")
    design = prompts.design(120, 11, prompts.load_templates())
    source = drawing.make_source("simulator", {"simulator_size": 192, "workers": 0})
    return folder, drawing.draw_images(source, design, folder / "simulator")


@pytest.fixture(scope="module")
def cropped(drawn: tuple[Path, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder, table = drawn
    out = tmp_path_factory.mktemp("cropped")
    return out, crop.crop_sources({"simulator": table}, ARMS, folder, out, workers=2)
