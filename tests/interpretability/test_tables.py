import pandas as pd
from interpretability.interpretability_fixture import film_set

from nbhelpers.interpretability import localisation
from nbhelpers.interpretability.tables import clusters, saliency, saliency_differences

TITLES = {"one": "one (simulated)", "two": "two"}


def test_clusters_stand_beside_the_majority() -> None:
    row = {"arm": "one", "dataset": "toy", "n": 393, "majority": 0.6361}
    row |= {"accuracy": 0.5842, "accuracy_low": 0.575, "accuracy_high": 0.5903}
    row |= {"ari": -0.0001, "ari_low": -0.001, "ari_high": 0.0}
    shown = clusters(pd.DataFrame([row]), TITLES).iloc[0]
    assert (shown["accuracy"], shown["majority"]) == ("0.584 (0.575 to 0.590)", "0.636")
    assert shown["network"] == "one (simulated)" and list(shown.index)[2:4] == ["accuracy", "majority"]


def test_tables_of_maps_name_arms_and_controls_in_words(networks, tmp_path):
    films = localisation.localise_sets(networks, {"toy": film_set(tmp_path / "films")}, n=0)
    summary = localisation.summarise_scores(films, 20)
    titles = {"one": "one (simulated)", "two": "two"}
    shown = saliency(summary, titles)
    assert list(shown["map"]) == ["blob at the centre", "random map", "random weights", "one (simulated)", "two"]
    assert set(shown["films_lesion"]) == {6} and set(shown["films_lungs"]) == {12}
    assert shown["energy"].str.fullmatch(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)").all()
    apart = saliency_differences(summary, titles)
    assert list(apart.columns[3:]) == ["minus blob at the centre", "minus random map", "minus random weights"]
    assert len(apart) == 2 * len(localisation.SCORES)
