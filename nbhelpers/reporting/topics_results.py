"""What a run says of its results: each public function is a topic of the checklists and the model card."""

from __future__ import annotations

import pandas as pd

from nbhelpers.metrics.decisions import RATES
from nbhelpers.reporting import limitations as against
from nbhelpers.reporting.run_facts import RunFacts, interval, primary
from nbhelpers.reporting.topic import each, listed
from nbhelpers.style import named

MORE = "more in the metrics table"


def _metrics(part: pd.DataFrame) -> str:
    return ", ".join(f"{named(row['metric'])} {interval(row)}" for row in part.to_dict("records"))


def internal(facts: RunFacts) -> str | None:
    """AUROC on synthetic images."""
    told = [f"{named(name)} {model['val_auroc']:.3f}" for name, model in facts.models.items() if model.get("val_auroc")]
    return (
        f"AUROC on synthetic validation images, which does not predict performance on films: {listed(told)}."
        if told
        else None
    )


def external(facts: RunFacts) -> str | None:
    """Whether there are real films."""
    titles = facts.titles()
    real = [title for name, title in titles.items() if name not in facts.simulated_datasets()]
    if not titles:
        return None
    return f"Yes: {', '.join(real)}." if real else "On simulated films only: no real external data in this run."


def performance(facts: RunFacts) -> str | None:
    """AUROC and AUPR of each arm on each data set."""
    rows = facts.overall("auroc", "aupr")
    if rows.empty:
        return None
    return each(rows, ["dataset", "arm"], lambda part: _metrics(part[:2]), MORE, facts.titles()) + "."


def operating_point(facts: RunFacts) -> str | None:
    """Rates at the frozen threshold."""
    rows = facts.overall(*RATES)
    if rows.empty:
        return None
    told = each(rows, ["dataset", "arm"], _metrics, MORE, facts.titles())
    return f"At the threshold frozen on synthetic validation images: {told}."


def output(facts: RunFacts) -> str | None:
    """What a network gives."""
    if not facts.models:
        return None
    frozen = len(facts.overall(*RATES))
    point = "a threshold frozen on synthetic validation images" if frozen else "no threshold is set"
    return f"A number from 0 to 1, higher for pneumonia; {point}."


def robustness(facts: RunFacts) -> str | None:
    """The largest loss under changes of the films."""

    def tell(part: pd.DataFrame) -> str:
        row = part.nlargest(1, "drop").iloc[0]
        return f"{row['drop']:.3f} under {row['change']}"

    table = facts.table("robustness")
    if table.empty:
        return None
    kinds = ", ".join(table["change"].drop_duplicates().astype(str))
    told = each(table, ["dataset", "arm"], tell, "more in the table", facts.titles())
    return f"The same films after alteration ({kinds}); largest loss of AUROC: {told}."


def failures(facts: RunFacts) -> str | None:
    """The films that are scored worst."""

    def tell(rows: pd.DataFrame) -> str:
        high = rows[rows["label"] == 0].nlargest(3, "score")["image_id"]
        low = rows[rows["label"] == 1].nsmallest(3, "score")["image_id"]
        negatives = facts.negatives(rows["dataset"].iloc[0])
        return f"{negatives} with the highest scores {', '.join(high)}; pneumonia with the lowest {', '.join(low)}"

    table = facts.table("predictions")
    if table.empty:
        return None
    return each(table, ["dataset", "arm"], tell, "more in predictions.csv", facts.titles()) + "."


def limitations(facts: RunFacts) -> str | None:
    """What stands against the results."""
    return " ".join(against.of_results(facts)) or None


def interpretation(facts: RunFacts) -> str | None:
    """The arms beside the trivial baselines."""
    if facts.overall().empty or facts.table("comparison").empty:
        return None
    first = against.beside_baselines(facts) or [
        "Every arm beats the best single-number baseline of every data set, though its sign was chosen on these labels."
    ]
    return " ".join([*first, *against.beside_trained(facts)])


def heterogeneity(facts: RunFacts) -> str | None:
    """AUROC across data sets."""
    areas = facts.overall("auroc")
    told = [
        f"{named(arm)} {part['value'].min():.3f} to {part['value'].max():.3f}"
        for arm, part in (areas.groupby("arm", sort=False) if len(areas) else ())
        if len(part) > 1
    ]
    return f"AUROC across data sets, lowest to highest: {listed(told, 'arms')}." if told else None


def updating(facts: RunFacts) -> str | None:
    """Calibration, before and after recalibration."""
    if not facts.titles():
        return None
    table = facts.table("calibration")
    if table.empty:
        return "No updating: each model is evaluated as trained."
    told = each(table, ["dataset", "arm", "probabilities"], _metrics, "more in the calibration table", facts.titles())
    return f"Calibration before and after recalibration: {told}."


def subgroups(facts: RunFacts) -> str | None:
    """AUROC by subgroup."""
    table = facts.table("metrics", metric="auroc")
    table = primary(table[table["subgroup"] != "all"]) if len(table) else table
    if table.empty:
        return None
    # What is adjusted for the view first: it is of all films.
    table = table.sort_values("subgroup", key=lambda names: names != "view-adjusted", kind="stable")
    told = (
        f"{facts.title(row['dataset'])}, {named(row['arm'])}, {named(row['subgroup'])}: {interval(row)}"
        for row in table[table["value"].notna()].to_dict("records")
    )
    return f"AUROC by subgroup: {listed(told, MORE)}."


def fairness(facts: RunFacts) -> str | None:
    """What prompts share between the classes, and AUROC by subgroup."""
    told, drawn = subgroups(facts), facts.arms and not facts.own_images
    balance = "Prompts share sex, age, view and habitus between the classes, pair by pair. " if drawn else ""
    return f"{balance}{told}" if told else None
