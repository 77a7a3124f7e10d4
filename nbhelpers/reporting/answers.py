"""The run's questions, each with its answer and the rows of a table and the figure that it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from nbhelpers.metrics import wording
from nbhelpers.reporting.run_facts import RunFacts, interval, primary
from nbhelpers.reporting.topic import listed
from nbhelpers.style import marked, named

_STAGE = {"saliency": "05_interpretability", "clusters": "05_interpretability"}


_UNTRAINED = "not_fine_tuned"  # the backbone before training, as the tables of notebook 05 call it


class Answer(NamedTuple):
    """A question, what the run answers, and its evidence: a table, its rows, a figure."""

    question: str
    text: str
    table: str  # path in the run's folder
    rows: str  # `column=value` of the rows, as a reader filters them
    figure: str


def answers(facts: RunFacts) -> list[Answer]:
    """All questions that the run's tables answer, by data set; none where a stage has not run."""
    return [
        found
        for ask in (_works, _beats, _differ, _threshold, _clusters, _looks, _edits, _masks)
        for found in ask(facts)
    ]


def _by_set(facts: RunFacts, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """A table's rows of each data set, of the arms that the run has now: an earlier experiment may have had others."""
    known = {*facts.scored_arms, _UNTRAINED}
    for column in ("arm", "arm_a", "arm_b", "map"):
        table = table[table[column].isin(known)] if column in table else table
    yield from ((str(name), part) for name, part in (table.groupby("dataset", sort=False) if len(table) else ()))


def _evidence(table: str, dataset: str, rows: str, figure: str) -> tuple[str, str, str]:
    folder = _STAGE.get(table, "04_external_validation")
    return f"{folder}/{table}.csv", ", ".join(filter(None, [f"dataset={dataset}", rows])), figure


def _titles(facts: RunFacts) -> dict[str, str]:
    """What the answers call each network: where some were trained on simulated images, those say so."""
    simulated = {name: facts.is_simulated(name) for name in facts.scored_arms}
    return {name: marked(named(name), flag and not all(simulated.values())) for name, flag in simulated.items()}


def _works(facts: RunFacts) -> Iterator[Answer]:
    titles = _titles(facts)
    images = "simulated images" if all(map(facts.is_simulated, facts.scored_arms)) else "these images"
    for dataset, part in _by_set(facts, facts.overall("auroc")):
        told = listed((f"{titles[str(row['arm'])]} {interval(row)}" for row in _rows(part)), "arms")
        question = f"Do networks trained on {images} recognise pneumonia on {facts.title(dataset)}?"
        where = _evidence("metrics", dataset, "subgroup=all, metric=auroc, primary=True", "figure_2")
        yield Answer(question, f"AUROC {told} (0.5 is chance).", *where)


def _beats(facts: RunFacts) -> Iterator[Answer]:
    table = facts.table("comparison")
    table = table[table["kind"] != "trained"] if len(table) else table
    for dataset, part in _by_set(facts, table):
        largest = part.sort_values("baseline_auroc", ascending=False).drop_duplicates("arm")
        told = listed((f"{named(row['arm'])} {wording.verdict(row['verdict'])} it" for row in _rows(largest)), "arms")
        bar = f"{largest['title'].iloc[0]}, {largest['baseline_auroc'].iloc[0]:.3f}"
        question = f"Do the arms perform better than a non-clinical image statistic on {facts.title(dataset)}?"
        where = _evidence("comparison", dataset, f"baseline={largest['baseline'].iloc[0]}", "figure_2")
        yield Answer(question, f"Best statistic ({bar}): {told}.", *where)


def _differ(facts: RunFacts) -> Iterator[Answer]:
    table = facts.table("arm_differences", metric="auroc")
    for dataset, part in _by_set(facts, primary(table) if len(table) else table):
        pairs = [
            f"{named(row['arm_a'])} minus {named(row['arm_b'])} "
            f"{wording.difference(row['difference'], row['ci_low'], row['ci_high'])}"
            for row in _rows(part[part["p_holm"] < 0.05])
        ]
        text = (
            f"Difference in AUROC: {listed(pairs, 'pairs')}."
            if pairs
            else f"No significant difference in {len(part)} pairs, after Holm's correction."
        )
        where = _evidence("arm_differences", dataset, "metric=auroc, primary=True", "figure_2")
        yield Answer(f"Do the arms differ on {facts.title(dataset)}?", text, *where)


def _threshold(facts: RunFacts) -> Iterator[Answer]:
    table = primary(facts.table("metrics", subgroup="all", metric=["sensitivity", "specificity"]))
    for dataset, part in _by_set(facts, table):
        told = [
            f"{named(arm)} " + ", ".join(f"{row['metric']} {row['value']:.3f}" for row in _rows(rows))
            for arm, rows in part.groupby("arm", sort=False)
        ]
        question = f"Does the threshold chosen on validation images transfer to {facts.title(dataset)}?"
        where = _evidence("metrics", dataset, "subgroup=all, metric=sensitivity or specificity, primary=True", "roc_pr")
        yield Answer(question, f"{listed(told, 'arms')}.", *where)


def _clusters(facts: RunFacts) -> Iterator[Answer]:
    for dataset, part in _by_set(facts, facts.table("clusters")):
        told = listed((f"{named(row['arm'])} {row['accuracy']:.3f}" for row in _rows(part)), "networks")
        known = "majority" in part and pd.notna(part["majority"].iloc[0])
        bar = f" (one single cluster: {part['majority'].iloc[0]:.3f})" if known else ""
        question = f"Does unsupervised clustering of the features separate the classes on {facts.title(dataset)}?"
        yield Answer(
            question, f"Accuracy of two clusters{bar}: {told}.", *_evidence("clusters", dataset, "", "figure_3")
        )


def _looks(facts: RunFacts) -> Iterator[Answer]:
    table = facts.table("saliency", metric="energy")
    for dataset, part in _by_set(facts, table):
        told = []
        for row in _rows(part):
            low, high = (row.get(f"centre_prior_less_{end}", math.nan) for end in ("low", "high"))
            above = "above" if low > 0 else "below" if high < 0 else "not distinguishable from"
            told.append(f"{named(row['map'])} {row['value']:.3f}, {above} a blob at the centre")
        question = f"Do the saliency maps agree with the lesions of {facts.title(dataset)}?"
        where = _evidence("saliency", dataset, "metric=energy", "saliency")
        yield Answer(question, f"Share of the map within the lesion: {listed(told, 'arms')}.", *where)


def _edits(facts: RunFacts) -> Iterator[Answer]:
    table = facts.editing.get("overall", pd.DataFrame())
    rows = _rows(table[table["kind"] == "all"]) if len(table) else []
    told = [
        f"{row['editor'].replace('_', ' ')} {row['error_inside_all']:.1f} inside, {row['error_outside']:.1f} outside"
        for row in rows
        if row["n_came"]
    ]
    told += [f"{row['editor'].replace('_', ' ')} returned no image" for row in rows if not row["n_came"]]
    if told:
        simulated = " on simulated films" if facts.edits_simulated() == "simulated" else ""
        question = f"Do the editors make the requested change{simulated}, and no other?"
        text = f"Mean error in grey levels, inside and outside the edited region: {listed(told, 'editors')}."
        yield Answer(question, text, "06_image_editing/overall.csv", "kind=all", "figure_5")


def _masks(facts: RunFacts) -> Iterator[Answer]:
    table = facts.segmentation.get("comparison", pd.DataFrame())
    sets = facts.segmentation.get("datasets", pd.DataFrame())
    titles = {row["dataset"]: row["title"] for row in _rows(sets)}
    stand_in = len(table) and facts.segmentation["models"]["stand_in"].any()
    drawer = "a stand-in for an image model" if stand_in else "the image model"
    for row in _rows(table[table["extreme"] == "all"] if len(table) else table):
        difference = wording.difference(row["difference"], row["ci_low"], row["ci_high"])
        text = f"Mean Dice {row['mean_b']:.3f} against {row['mean_a']:.3f} of the specialist, difference {difference}."
        where = ("07_segmentation/comparison.csv", f"dataset={row['dataset']}, selection=all, extreme=all", "figure_6")
        question = f"Does {drawer} match a specialist at segmentation on {titles[row['dataset']]}?"
        yield Answer(question, text, *where)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
