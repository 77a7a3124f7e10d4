from dataclasses import replace
from types import SimpleNamespace

import pandas as pd

from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.trained import Network
from nbhelpers.validation import dose


def network(name, images, source="simulator", method="pairs"):
    arm = {"name": name, "source": source, "crop": "none", "method": method}
    made = ModelDescription("test_resnet", "random", Transform(48), arm=arm, simulated=True)
    made.training["images"] = {"train": images, "validation": 10}
    return Network(name, None, made)


NETWORKS = {
    "few": network("few", 10),
    "many": network("many", 1000),
    "mixed": network("mixed", 1000, "simulator+simulator_roentgen"),
}
SETS = {"films": SimpleNamespace(title="Films")}


def by_seed():
    values = {("few", 0): 0.6, ("few", 1): 0.8, ("many", 0): 0.9, ("mixed", 0): 0.95}
    rows = [(arm, "films", seed, "auroc", value) for (arm, seed), value in values.items()]
    rows += [("few", "films", 0, "aupr", 0.1)]
    return pd.DataFrame(rows, columns=["arm", "dataset", "seed", "metric", "value"])


def spread():
    arms = ["few", "many", "mixed"]
    found = pd.DataFrame({"arm": arms, "dataset": "films", "metric": "auroc", "ci_low": 0.5, "ci_high": [0.7, 0.95, 1]})
    return pd.concat([found, found.assign(metric="aupr", ci_high=0.1)], ignore_index=True)


def test_arms_of_one_source_and_method_are_one_line_and_a_mix_is_its_own():
    table = dose.dose_table(by_seed(), NETWORKS, spread())
    lines = table.groupby("line")["arm"].unique().map(sorted).to_dict()
    assert sorted(lines.values()) == [["few", "many"], ["mixed"]]
    assert all("simulated" in line or "simulator" in line for line in lines)
    assert table.set_index(["arm", "seed"])["images"].to_dict() == {
        ("few", 0): 10,
        ("few", 1): 10,
        ("many", 0): 1000,
        ("mixed", 0): 1000,
    }
    assert len(table) == 4


def test_the_curve_goes_through_the_mean_of_the_seeds_and_shows_each():
    figure = dose.draw_curve(dose.dose_table(by_seed(), NETWORKS, spread()), SETS)
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    figure.canvas.draw()
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["10", "1,000"]
    assert [round(value, 6) for value in axis.lines[0].get_ydata()] == [0.7, 0.9]
    assert sum(len(dots.get_xdata()) for dots in axis.lines if dots.get_linestyle() == "None") == 4


def test_every_number_is_on_the_axis_unless_it_would_run_into_the_next():
    table = dose.dose_table(by_seed(), NETWORKS, spread())
    numbers = [20, 48, 50, 100, 200, 400]
    figure = dose.draw_curve(pd.concat([table.assign(images=number) for number in numbers]), SETS)
    figure.canvas.draw()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["20", "50", "100", "200", "400"]


def test_arms_of_equal_size_have_no_curve(capsys):
    saved = []
    stage = SimpleNamespace(save_figure=lambda figure, name: saved.append(name))
    table = dose.dose_table(by_seed(), NETWORKS, spread())
    dose.save_curve(table[table["images"] == 1000], SETS, stage)
    assert not saved
    assert "no dose curve" in capsys.readouterr().out
    dose.save_curve(table, SETS, stage)
    assert saved == ["dose"]


def test_the_interval_is_the_first_seeds_and_drawn_as_a_bar():
    table = dose.dose_table(by_seed(), NETWORKS, spread()).set_index(["arm", "seed"])
    assert table.loc[("few", 0), ["ci_low", "ci_high"]].tolist() == [0.5, 0.7]
    assert table.loc[("few", 1), ["ci_low", "ci_high"]].isna().all()
    figure = dose.draw_curve(table.reset_index(), SETS)
    bars = [segment for bar in figure.axes[0].collections for segment in bar.get_segments()]
    assert sorted(round(float(bar[1][1]), 6) for bar in bars) == [0.7, 0.95, 1.0]


def test_networks_of_several_backbones_are_lines_of_their_own():
    other = network("few", 10)
    networks = NETWORKS | {"few": Network("few", None, replace(other.description, backbone="test_vit"))}
    lines = dose.dose_table(by_seed(), networks, spread()).groupby("line")["arm"].unique().map(list).to_dict()
    assert sorted(lines.values()) == [["few"], ["many"], ["mixed"]] and sum("test_vit" in line for line in lines) == 1


def test_methods_with_a_network_each_need_no_name_of_it():
    own = replace(network("few", 10, method="lesions").description, backbone="test_vit")
    lines = set(dose.dose_table(by_seed(), NETWORKS | {"few": Network("few", None, own)}, spread())["line"])
    assert len(lines) == 3 and not any("test_vit" in line or "test_resnet" in line for line in lines)


def test_arms_of_several_learning_rates_are_lines_of_their_own():
    """At one rate they are one line, as few and many are."""
    networks = {name: network(name, 10 ** (1 + number), method="finetune") for number, name in enumerate(NETWORKS)}
    for made in networks.values():
        made.description.training["learning_rate"] = 3e-4
    assert len(set(dose.dose_table(by_seed(), networks, spread())["line"])) == 1
    networks["many"].description.training["learning_rate"] = 1e-3
    lines = dose.dose_table(by_seed(), networks, spread()).groupby("line")["arm"].unique().map(sorted).to_dict()
    assert sorted(lines.values()) == [["few", "mixed"], ["many"]]
    assert any("learning rate 0.001" in line for line in lines) and any(
        "learning rate 0.0003" in line for line in lines
    )
