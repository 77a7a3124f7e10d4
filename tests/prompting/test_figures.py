"""Figures on drawing: what they name and show."""

import matplotlib as mpl
import numpy as np
from prompting.images_fixture import embedding_of, table_of

from nbhelpers.images.files import write_png
from nbhelpers.prompting import costs, diversity, figures

mpl.use("Agg")


def test_figures_name_simulated_sources_and_every_outcome(tmp_path):
    images = table_of(48, ("simulator", "gemini"))
    embedding = embedding_of(96)
    figure = figures.figure_diversity(diversity.spread(images, embedding), diversity.visibility(images, embedding))
    words = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    assert "simulator\n(simulated)" in words and "Gemini" in words
    outcomes = costs.request_outcomes(images.assign(status=["ok"] * 90 + ["given up: no_image"] * 6), tmp_path)
    bars = figures.figure_outcomes(outcomes)
    words = [text.get_text() for text in bars.findobj(mpl.text.Text)]
    assert "Gemini: given up: no_image" in words and "simulator (simulated): ok" in words


def test_figure_1_shows_each_source_and_class_and_a_pair_in_each_column(tmp_path):
    images = table_of(12, ("simulator", "gemini"))
    # Each pair has a grey of its own, so that a column shows which pair it is of.
    for row in images.to_dict("records"):
        write_png(tmp_path / row["source"] / row["path"], np.full((32, 32), 20 + 30 * int(row["pair_id"]), np.uint8))
    figure = figures.figure_1(images, tmp_path, columns=4)
    shown = [
        [float(np.mean(axis.images[0].get_array())) for axis in figure.axes[row : row + 4]] for row in (0, 4, 8, 12)
    ]
    assert len(figure.axes) == 16 and shown[0] == shown[1] and shown[2] == shown[3] and len(set(shown[0])) == 4
    words = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    assert "pneumonia" in words and "normal" in words and "simulated" in words and "before cropping" in words


def test_outcomes_that_nobody_had_are_no_bar(tmp_path):
    outcomes = costs.request_outcomes(table_of(4), tmp_path)
    none = outcomes.assign(outcome="corrupt", requests=0)
    axis = figures.figure_outcomes(outcomes.iloc[[0, 0]].assign(requests=[4, 0])).axes[0]
    assert len(axis.patches) == 1 and axis.patches[0].get_width() == 4
    assert len(figures.figure_outcomes(none).axes[0].patches) == 0
