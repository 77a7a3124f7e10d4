import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
from interpretability.interpretability_fixture import BACKBONE, LESION, SIDE, film_set, predictions, save_arm

from nbhelpers import runs, style
from nbhelpers.interpretability import chosen_films, figures, localisation
from nbhelpers.networks import lesions, trained

matplotlib.use("Agg")


def test_figure_4_classes_films_at_the_first_arms_frozen_threshold_and_says_so(networks, tmp_path):
    metrics = pd.DataFrame({"arm": ["two", "one", "one"], "threshold": [0.2, np.nan, 0.9]})
    sets = {"toy": film_set(tmp_path / "films")}
    shown = chosen_films.explain_sets(predictions(), sets, networks, metrics=metrics)[0]
    assert shown.rule.endswith("p >= 0.9, its frozen threshold") and shown.films["n_cell"].iloc[0] == 1
    assert shown.rule in figures.draw_examples([shown]).get_supxlabel()
    assert chosen_films.explain_sets(predictions(), sets, networks)[0].rule.endswith("p >= 0.5")


def test_a_cell_without_films_is_named_and_has_no_row(networks, tmp_path):
    examples = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks, threshold=0.0)
    assert examples[0].missing == ["false negative", "true negative"]
    assert list(examples[0].films["cell"]) == ["true positive", "false positive"]
    figure = figures.draw_examples(examples)
    panels = [axes for axes in figure.axes if axes.images and axes.get_ylabel() != "Grad-CAM"]
    assert sum(len(axes.images) == 2 for axes in panels) == 2 * 2
    assert "no false negative, no true negative" in figure.get_supxlabel()
    assert list(chosen_films.examples_table(examples)["dataset"]) == ["toy", "toy"]


def load(tmp_path, monkeypatch, **arms):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    for seed, (arm, size) in enumerate(arms.items()):
        save_arm(run, arm, seed, size)
    return trained.load_networks(arms, runs.Stage("05", run, run, {"seed": 0, "device": "cpu"}, "cpu"))


@pytest.mark.parametrize(
    ("two", "said"),
    [
        ("resnet10t", "Grad-CAM (logit"),
        (lesions.NAME, "lesion as drawn, in the drawn lungs (logit"),
        ("probe", "contribution of each place (logit"),
    ],
)
def test_only_grad_cam_is_called_so(tmp_path, monkeypatch, two, said):
    def colour_bar(examples):
        return next(axes.get_ylabel() for axes in figures.draw_examples(examples).axes if "logit" in axes.get_ylabel())

    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    sets, run = {"toy": film_set(tmp_path / "films")}, tmp_path / "outputs" / "toy"
    save_arm(run, "one", 0, 64)
    probe = {"names": ["layer3", "layer4"], "pooling": ["mean"], "sizes": [64]} if two == "probe" else None
    save_arm(run, "two", 0, 64, BACKBONE if probe else two, probe=probe)
    stage = runs.Stage("05", run, run, {"seed": 0, "device": "cpu"}, "cpu")
    alone = chosen_films.explain_sets(predictions(), sets, trained.load_networks(["two"], stage))
    assert colour_bar(alone).startswith(said)
    networks = trained.load_networks(["one", "two"], stage)
    both = chosen_films.explain_sets(predictions(), sets, networks)
    told = figures.draw_examples(both).get_supxlabel()
    if two == "resnet10t":
        assert colour_bar(both).startswith(said) and "Grad-CAM" not in told
    else:
        assert colour_bar(both).startswith("maps, see below (logit")
        assert f"{said.removesuffix(' (logit')}: {networks['two'].title}" in told
        assert f"Grad-CAM: {networks['one'].title}" in told


def test_films_stand_alone_where_no_network_keeps_a_map_and_one_line_says_why(tmp_path, monkeypatch, capsys):
    networks, sets = load(tmp_path, monkeypatch, one=32, two=32), {"toy": film_set(tmp_path / "films")}
    examples = chosen_films.explain_sets(predictions(), sets, networks)
    why = "no Grad-CAM for resnet10t at 32 pixels: it has no spatial feature map before its classifier"
    assert capsys.readouterr().out.splitlines() == [why]
    figure = figures.draw_examples(examples)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1]
    assert why in figure.subfigs[-1].get_supxlabel()
    scored = localisation.localise_sets(networks, sets, n=0)
    assert scored.empty and localisation.summarise_scores(scored).empty and "image_id" in scored


def test_an_arm_without_a_map_does_not_take_the_others_maps_away(tmp_path, monkeypatch):
    networks, sets = load(tmp_path, monkeypatch, one=32, two=64), {"toy": film_set(tmp_path / "films")}
    examples = chosen_films.explain_sets(predictions(), sets, networks)
    figure = figures.draw_examples(examples)
    assert list(examples[0].maps) == ["two"] and "resnet10t at 32 pixels" in figure.get_supxlabel()
    scored = localisation.localise_sets(networks, sets, n=0)
    assert list(scored["map"].unique()) == [*localisation.BASELINES, "two"]


def test_all_maps_of_a_figure_share_one_colour_scale(networks, tmp_path):
    examples = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)
    figure = figures.draw_examples(examples)
    limits = {axes.images[1].get_clim() for axes in figure.axes if len(axes.images) == 2}
    assert limits == {(0.0, max(float(maps.max()) for maps in examples[0].maps.values()))}


def test_ten_arms_go_on_in_a_second_row_of_the_same_film(networks, tmp_path):
    shown = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)[0]
    arms = [f"arm_{number}" for number in range(10)]
    shown = dataclasses.replace(
        shown,
        maps={arm: shown.maps["one"] for arm in arms},
        titles={arm: f"{arm} (simulated)" for arm in arms},
        kinds={arm: "Grad-CAM" if number % 2 else "lesion as drawn" for number, arm in enumerate(arms)},
        films=shown.films.assign(**{f"score_{arm}": number / 10 for number, arm in enumerate(arms)}),
    )
    style.use()
    figure = figures.draw_examples([shown])
    headings = [axes.get_title() for axes in figure.axes if axes.axison and axes.get_title()]
    film = [line.splitlines()[-1] for line in headings[:11]]
    assert film[1:] == [f"p = 0.{number}00" for number in range(10)]
    assert [line.splitlines()[0] for line in headings[:11]] == ["original", *arms]
    figure.canvas.draw()
    places = [axes.title.get_window_extent() for axes in figure.axes if axes.axison and axes.get_title()]
    assert not any(one.overlaps(other) for number, one in enumerate(places) for other in places[:number])
    foot = figure._supxlabel.get_window_extent()  # names every arm with its kind of map, in as many lines as it takes
    assert foot.x0 >= 0 and foot.x1 <= figure.bbox.width
    assert all(f"{arm} (simulated)" in figure.get_supxlabel().replace("\n", " ") for arm in arms)


def test_known_lesions_are_boxed_in_every_panel_of_their_row(networks, tmp_path):
    examples = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)
    figure = figures.draw_examples(examples)
    boxes = [axes.patches[0].get_path().get_extents() for axes in figure.axes if axes.patches]
    assert len(boxes) == 2 * 3  # true positive and false negative, original and two arms
    scale = 64 / SIDE
    np.testing.assert_allclose(np.array(boxes[0].extents) + 0.5, np.array(LESION) * scale, atol=1)


def test_two_boxes_of_a_film_are_two_outlines_and_a_zero_of_a_map_is_clear(networks, tmp_path):
    shown = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)[0]
    row = int(np.flatnonzero(shown.truth.lesion_known)[0])
    shown.truth.lesion[row] = False
    shown.truth.lesion[row, 5:15, 5:20] = shown.truth.lesion[row, 40:50, 30:60] = True
    for maps in shown.maps.values():
        maps[:, : maps.shape[1] // 2] = 0
    figure = figures.draw_examples([shown])
    with_boxes = [len(axes.patches) for axes in figure.axes if axes.patches]
    assert with_boxes.count(2) == 3  # original and two arms
    heat = next(axes.images[1] for axes in figure.axes if len(axes.images) == 2)
    assert (heat.to_rgba(heat.get_array())[0, :, 3] == 0).all()


def test_a_long_film_name_is_short_in_the_figure_and_whole_in_the_table(networks, tmp_path):
    long = "train/PNEUMONIA/person1234_bacteria_5678_and_more.jpeg"
    shown = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)[0]
    shown.films["image_id"] = long
    titles = [axes.get_title() for axes in figures.draw_examples([shown]).axes if axes.images]
    assert not any(long in title for title in titles) and max(len(t.splitlines()[-1]) for t in titles if t) <= 16
    assert set(chosen_films.examples_table([shown])["image_id"]) == {long}
