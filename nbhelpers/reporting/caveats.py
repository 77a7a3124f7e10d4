"""What stands against a run's results, in sentences, from its tables: for the report and the model card."""

from __future__ import annotations

from nbhelpers.reporting import statements
from nbhelpers.reporting.run_facts import RunFacts


def of_run(facts: RunFacts) -> list[str]:
    """Every caveat of a run: `statements.limitations`, then what Grad-CAM and clustering say against the networks."""
    return [*statements.limitations(facts), *_grad_cam_off_the_lungs(facts), *_clusters_under_the_majority(facts)]


def _grad_cam_off_the_lungs(facts: RunFacts) -> list[str]:
    """Arms whose share of Grad-CAM in the lungs is below that of a random map, the whole interval."""
    table = facts.table("saliency")
    if table.empty or "random_map_less_high" not in table:
        return []
    told = []
    for dataset, rows in table[table["metric"] == "in_lungs"].groupby("dataset", sort=False):
        below = rows[rows["random_map_less_high"] < 0]
        if len(below):
            arms = [f"{row['map']} {row['value']:.3f}" for row in below.to_dict("records")]
            random = rows.loc[rows["map"] == "random_map", "value"].iloc[0]
            told.append(
                f"{_title(facts, dataset)}: less of the Grad-CAM lies in the lungs than of a random map "
                f"({random:.3f}): {', '.join(arms)}. Such maps look past the lungs."
            )
    return told


def _clusters_under_the_majority(facts: RunFacts) -> list[str]:
    """Arms whose two clusters agree with the labels less often than one single cluster would."""
    table = facts.table("clusters")
    if table.empty or "prevalence" not in table:
        return []
    told = []
    table = table[table["arm"].isin(list(facts.scored_arms))]
    table = table.assign(majority=table["prevalence"].where(table["prevalence"] >= 0.5, 1 - table["prevalence"]))
    for dataset, rows in table.groupby("dataset", sort=False):
        below = rows[rows["accuracy"] < rows["majority"]]
        if len(below):
            arms = [f"{row['arm']} {row['accuracy']:.3f}" for row in below.to_dict("records")]
            told.append(
                f"{_title(facts, dataset)}: two clusters of the features agree with the labels less often than "
                f"calling every film by the larger class does ({below['majority'].iloc[0]:.3f}): "
                f"accuracy of {', '.join(arms)}."
            )
    return told


def _title(facts: RunFacts, dataset: object) -> str:
    return facts.titles().get(str(dataset), str(dataset))
