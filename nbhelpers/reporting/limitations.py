"""What stands against a run's results, a sentence each, found in its tables: for report, model card and checklists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nbhelpers.metrics import wording
from nbhelpers.metrics.decisions import RATES
from nbhelpers.reporting.run_facts import RunFacts, interval, primary
from nbhelpers.reporting.topic import listed, together
from nbhelpers.style import named


def of_run(facts: RunFacts) -> list[str]:
    """Every caveat of a run: `of_results`, then what saliency maps and clustering say against the networks."""
    maps = [*_maps_off_the_lungs(facts), *_maps_under_a_blob(facts)]
    return [*of_results(facts), *maps, *_clusters_under_the_majority(facts)]


def of_results(facts: RunFacts) -> list[str]:
    """What a reader must know against the scores."""
    found = []
    simulated = [name for name in facts.arms if facts.is_simulated(name)]
    if simulated:
        arms = f"Arms {together(simulated)} were" if len(simulated) > 1 else f"Arm {named(simulated[0])} was"
        found.append(f"{arms} trained on simulated images, not on images from a general image model.")
    titles, metrics = facts.titles(), facts.table("metrics")
    found += [
        f"{titles[name]}: simulated films, whose results do not apply to patients."
        for name in facts.simulated_datasets()
    ]
    found += [f"{titles[name]}: {part} were scored: a part of the set only." for name, part in facts.partial().items()]
    unknown = [row["title"] for row in facts.datasets() if row["patients"] is None]
    if unknown:
        found.append(f"{', '.join(unknown)}: patients are unknown, so intervals treat films as independent.")
    found += beside_baselines(facts) + beside_trained(facts) + _view_shortcut(facts)
    if facts.own_checkpoints:
        verb, whose = ("was", "its") if len(facts.own_checkpoints) == 1 else ("were", "their")
        found.append(
            f"{together(facts.own_checkpoints)} {verb} not trained in this run: whether films of these sets were among "
            f"{whose} training images is not known here."
        )
    seeds = facts.table("seeds_summary")
    one_seed = len({stage.get("seed") for stage in facts.stages.values()}) == 1
    if facts.splits and one_seed and (seeds.empty or seeds["n_seeds"].min() < 2):
        found.append("One training seed: the intervals do not include the variation between trainings.")
    if facts.parameters.get("rsna_cohort") == "paper" and "rsna" in titles:
        beside = f" {titles['rsna_full']} is reported as well." if "rsna_full" in titles else ""
        found.append(
            "RSNA 2018 without its third class: the hard negatives are excluded, which raises every score." + beside
        )
    if len(metrics) and facts.overall(*RATES).empty:
        found.append("No operating point was evaluated.")
    if len(metrics) and facts.table("calibration").empty:
        found.append("Calibration was not evaluated.")
    return found


def chosen(row: Mapping[Any, Any]) -> str:
    """What must be said of a baseline that was chosen on the films' own labels; empty of one that was fixed."""
    several = row.get("chosen_from", 1)
    if row.get("kind") != "best way" and not several > 1:
        return ""
    way = ", each with its sign chosen on these labels" if row.get("kind") == "best way" else ""
    return f" (the largest of {several:.0f} image statistics{way}: an optimistic bound)" if several > 1 else way


def beside_baselines(facts: RunFacts) -> list[str]:
    """Each arm that does not beat the best one-number baseline of a data set."""
    # What was trained on the set itself shows what the set gives away; it is no bar to clear.
    rows = facts.table("comparison")
    if len(rows):
        rows = rows[(rows["kind"] != "trained") & (rows["verdict"] != "beats")]
        rows = rows.sort_values("baseline_auroc", ascending=False).drop_duplicates(["arm", "dataset"]).sort_index()
    return [
        f"{facts.title(row['dataset'])}: arm {named(row['arm'])} (AUROC {row['auroc']:.3f}) {row['verdict']} a trivial "
        f"baseline, a non-clinical image statistic: {row['title']}, {row['baseline_auroc']:.3f}; difference "
        f"{wording.difference(row['difference'], row['ci_low'], row['ci_high'])}{chosen(row)}."
        for row in rows.to_dict("records")
    ]


def beside_trained(facts: RunFacts) -> list[str]:
    """Each arm that does not beat the best baseline that was trained on the data set itself, marked as such."""
    rows = facts.table("comparison", kind="trained")
    told = []
    for (dataset, title, area), part in (
        rows[rows["verdict"] != "beats"].groupby(["dataset", "title", "baseline_auroc"], sort=False)
        if len(rows)
        else ()
    ):
        arms = "; ".join(
            f"{named(row['arm'])} {row['auroc']:.3f}, {row['verdict']} it" for row in part.to_dict("records")
        )
        told.append(
            f"{facts.title(dataset)}: a trivial baseline trained on this set reaches AUROC "
            f"{area:.3f} ({title}); not a fair comparison for an arm trained elsewhere, but it shows how far the "
            f"classes are separable by non-clinical cues ({arms})."
        )
    return told


def _view_shortcut(facts: RunFacts) -> list[str]:
    """Where the view alone tells pneumonia from normal, and what is left of each arm without it."""
    views = facts.table("baselines", baseline="view", metric="auroc")
    if views.empty or facts.table("metrics").empty:
        return []
    told = []
    for view in views[views["ci_low"] > 0.5].to_dict("records"):
        # What is adjusted for the view answers for the arm as a whole: all of it, and before its parts.
        adjusted, parts = (
            [
                f"{named(row['arm'])} {named(row['subgroup'])} {interval(row)}"
                for row in primary(
                    facts.table("metrics", dataset=view["dataset"], metric="auroc", subgroup=names)
                ).to_dict("records")
            ]
            for names in (["view-adjusted"], ["view AP", "view PA"])
        )
        left = "; ".join([*adjusted, *([listed(parts, "more in the metrics table")] if parts else [])])
        within = f" With the view excluded: {left}." if left else ""
        title = facts.title(view["dataset"])
        told.append(f"{title}: the view alone reaches AUROC {interval(view)}, so a classifier may rely on it.{within}")
    return told


def _maps_off_the_lungs(facts: RunFacts) -> list[str]:
    """Arms whose share of the map in the lungs is below that of a random map, the whole interval."""
    table = facts.table("saliency", metric="in_lungs")
    if table.empty or "random_map_less_high" not in table:
        return []
    told = []
    for dataset, rows in table.groupby("dataset", sort=False):
        below = rows[rows["random_map_less_high"] < 0]
        if len(below):
            arms = [f"{named(row['map'])} {row['value']:.3f}" for row in below.to_dict("records")]
            random = rows.loc[rows["map"] == "random_map", "value"].iloc[0]
            told.append(
                f"{facts.title(dataset)}: a smaller share of the saliency map than of a random map lies in the lungs "
                f"({random:.3f}): {', '.join(arms)}. The map's mass in the lungs is below the random control."
            )
    return told


def _maps_under_a_blob(facts: RunFacts) -> list[str]:
    """Arms whose map meets the lesion less than one blob at every film's centre does."""
    table = facts.table("saliency", metric=["energy", "iou"])
    if table.empty or "centre_prior_less" not in table:
        return []
    below = table[table["centre_prior_less"] < 0]
    told = []
    for (dataset, metric), rows in below.groupby(["dataset", "metric"], sort=False):
        ends = ("centre_prior_less", "centre_prior_less_low", "centre_prior_less_high")
        arms = "; ".join(
            f"{named(row['map'])} {row['value']:.3f}, {wording.difference(*(row.get(end, math.nan) for end in ends))}"
            for row in rows.to_dict("records")
        )
        what = "energy in the lesion" if metric == "energy" else "IoU with the lesion"
        below_it = "is below that of a blob at the centre"
        told.append(f"{facts.title(dataset)}: {what} of the saliency map {below_it}: {arms}.")
    return told


def _clusters_under_the_majority(facts: RunFacts) -> list[str]:
    """Arms whose two clusters agree with the labels less often than one single cluster would."""
    table = facts.table("clusters", arm=set(facts.scored_arms))
    if table.empty or "prevalence" not in table:
        return []
    told = []
    table = table.assign(majority=table["prevalence"].where(table["prevalence"] >= 0.5, 1 - table["prevalence"]))
    for dataset, below in table[table["accuracy"] < table["majority"]].groupby("dataset", sort=False):
        arms = [f"{named(row['arm'])} {row['accuracy']:.3f}" for row in below.to_dict("records")]
        told.append(
            f"{facts.title(dataset)}: two clusters of the features agree with the labels less often than "
            f"calling every film by the larger class does ({below['majority'].iloc[0]:.3f}): "
            f"accuracy of {', '.join(arms)}."
        )
    return told
