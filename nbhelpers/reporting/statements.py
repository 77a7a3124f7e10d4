"""What a run knows of itself, a sentence or two a topic: for the model card and the reporting checklists.

Each statement reads a run's tables and says what they hold; it gives None where the run has not written them, and
names what it leaves open. No statement guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from nbhelpers.reporting import flow
from nbhelpers.reporting.run_facts import RunFacts

_RSNA = {
    "reference": "radiologists' reading for the challenge: Lung Opacity (opacity suspicious for pneumonia, boxed) "
    "against Normal or the third class; clinical or laboratory data were not used",
    "annotators": "radiologists recruited by the RSNA and the Society of Thoracic Radiology (Shih et al. 2019)",
    "acquisition": "adult and child films of the NIH Clinical Center (ChestX-ray14), CR, PA and AP",
}
REAL = {
    "rsna": _RSNA,
    "rsna_full": _RSNA,
    "kermany": {
        "reference": "the publishers' labels: normal, or bacterial or viral pneumonia",
        "annotators": "two physicians graded the films, and a third checked the test part (Kermany et al. 2018)",
        "acquisition": "films of children aged 1 to 5 from routine care in Guangzhou, AP",
    },
}
SIMULATED = {
    "reference": "known by construction: a lesion was drawn or it was not",
    "annotators": "none: the simulator knows",
    "acquisition": "a simulator's; no detector and no patient",
}
OWN = "for your own films"
SHOWN = 6  # arms, subgroups or reasons named in one statement


class Statement(NamedTuple):
    """What the run says on a topic, and what it leaves to the authors."""

    text: str
    open: str = ""


def state(topic: str, facts: RunFacts) -> Statement | None:
    """The run's statement on a topic of `TOPICS`, or None when it has nothing to say on it yet."""
    found = TOPICS[topic](facts)
    return Statement(found) if isinstance(found, str) else found


def overall(facts: RunFacts) -> pd.DataFrame:
    """Primary overall rows of `metrics.csv`: by patients where these are known, else by films."""
    table = facts.table("metrics")
    if table.empty:
        return table
    return primary(table[table["subgroup"] == "all"])


def primary(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose interval is the primary one; all rows where a table has one interval a row."""
    if "primary" not in table:
        return table.drop_duplicates(["arm", "dataset", "subgroup", "metric"])
    return table[table["primary"].astype(str).str.lower().isin(("true", "1", "1.0"))]


def interval(row: Mapping[Any, Any]) -> str:
    """`0.812 (0.790 to 0.834)`; the value alone where it has no interval, `not estimated` where there is neither."""
    if pd.isna(row["value"]):
        return "not estimated"
    if pd.isna(row.get("ci_low")):
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"


def _films(facts: RunFacts) -> pd.DataFrame:
    table = facts.table("predictions")
    return table.drop_duplicates(["dataset", "image_id"]) if len(table) else table


def _own_images(facts: RunFacts) -> bool:
    """Whether an arm trains on images of the user's own, which may show patients."""
    return "folder" in {arm.get("source") for arm in facts.arms.values()}


def _listed(items: list[str], more: str = "more") -> str:
    shown = items[:SHOWN]
    return "; ".join(shown) + (f"; and {len(items) - SHOWN} {more}" if len(items) > SHOWN else "")


def _mark(simulated: bool) -> str:
    return " (simulated)" if simulated else ""


def _trained(facts: RunFacts, text: str | None) -> Statement | None:
    """A statement on training, which says nothing of checkpoints that the run did not train."""
    own = ", ".join(name for name in facts.models if name not in facts.arms)
    if not own:
        return Statement(text) if text else None
    return Statement(text or "Nothing was trained in this run.", f"the same of {own}, which this run did not train")


def _each_model(
    facts: RunFacts, tell: Callable[[dict[str, Any]], str], names: Iterable[str] | None = None
) -> str | None:
    """What `tell` says of each network's `model.json` (of `names` alone, if given): once when all agree, else each."""
    chosen = facts.models if names is None else {name: facts.models[name] for name in names if name in facts.models}
    told = {name: tell(model) for name, model in chosen.items()}
    if not told:
        return None
    if len(set(told.values())) == 1:
        return ("All arms: " if len(told) > 1 else "") + next(iter(told.values())) + "."
    return _listed([f"{name}: {text}" for name, text in told.items()], "arms") + "."


def _category(facts: RunFacts) -> str | None:
    backbones = sorted({str(model["backbone"]) for model in facts.models.values()})
    return f"Deep learning: image classification by {', '.join(backbones)}." if backbones else None


def _question(facts: RunFacts) -> str | None:
    sources = list(dict.fromkeys(arm["source"] for arm in facts.arms.values()))
    named = ", ".join(f"{name}{_mark(facts.source_is_simulated(name))}" for name in sources)
    targets = ", ".join(facts.titles().values()) or "external films"
    if not sources and facts.models:
        return f"How well does {', '.join(facts.models)}, a checkpoint of the user's own, work on {targets}?"
    return f"Can images drawn by {named} train a classifier of pneumonia that works on {targets}?" if sources else None


def _design(facts: RunFacts) -> Statement | None:
    titles = facts.titles()
    if not titles:
        return None
    if len(facts.simulated_datasets()) == len(titles):
        return Statement("In silico: every evaluated film is simulated; no patient's film is scored.")
    text = "Retrospective: films that existed before are scored."
    return Statement(text, "whether your own films were collected for this study" if "folder" in titles else "")


def _goal(facts: RunFacts) -> str | None:
    targets = ", ".join(facts.titles().values())
    if not facts.arms:
        return f"External evaluation on {targets}; nothing is developed." if targets else None
    compared = f"{len(facts.arms)} arms ({', '.join(facts.arms)})" if len(facts.arms) > 1 else "one arm"
    evaluated = f", external evaluation on {targets}" if targets else ""
    return (
        f"Feasibility: development of {compared} on synthetic images{evaluated}; arms are compared on the same films."
    )


def _training_sources(facts: RunFacts) -> str | None:
    told = []
    for source, table in facts.images.items():
        drawn = table[table["status"] == "ok"]
        models = ", ".join(sorted(drawn["model"].dropna().astype(str).unique())) or "unnamed model"
        told.append(f"{source}{_mark(facts.source_is_simulated(source))}: {len(drawn):,} images drawn by {models}")
    return "Training images: " + _listed(told) + "." if told else None


def _evaluation_sources(facts: RunFacts) -> str | None:
    table, titles = facts.table("datasets"), facts.titles()
    if table.empty:
        return None
    told = []
    for row in table.to_dict("records"):
        patients = f", {int(row['n_patients']):,} patients" if pd.notna(row.get("n_patients")) else ", patients unknown"
        told.append(f"{titles[row['dataset']]}: {int(row['n']):,} films{patients}, {row['prevalence']:.1%} pneumonia")
    return "Films: " + _listed(told) + "."


def _eligibility(facts: RunFacts) -> str | None:
    counts = flow.counts_of(facts)
    if counts.empty:
        return None
    told = []
    for (_, name), rows in counts.groupby(["part", "name"], sort=False):
        lost = rows[~rows["kept"]]
        reasons = ", ".join(f"{row['n']:,} {row['reason']}".replace("_", " ") for row in lost.to_dict("records"))
        told.append(f"{name}: {reasons or 'nothing'}")
    return "Left out, by reason: " + _listed(told) + ". The rest is in; see the data-flow table."


def _preprocessing(facts: RunFacts) -> str | None:
    if not facts.models:
        return None
    crops = ", ".join(f"{name} {arm.get('crop')}" for name, arm in facts.arms.items())
    margins = facts.parameters.get("crop_margins")
    size = _each_model(
        facts,
        lambda m: (
            f"{m['transform']['size']} x {m['transform']['size']} pixels, gray, "
            f"standardised by {m['transform']['standardise']}"
        ),
    )
    films = facts.parameters.get("film_crop", "none")
    cut = f" (margins left, top, right, bottom: {margins})" if margins else ""
    if not facts.arms:
        return f"Crop of the films: {films}. Network input: {size}"
    return (
        f"Crop of the training images: {crops}{cut}; crop of the films: {films}. Quality control leaves out what is "
        f"unreadable, too small, no radiograph or a near-duplicate, by rules that do not see the label. "
        f"Network input: {size}"
    )


def _subsets(facts: RunFacts) -> str | None:
    if not facts.titles():
        return None
    cohorts = [str(facts.parameters.get("rsna_cohort"))] if "rsna" in facts.titles() else []
    cohorts += ["full"] if "rsna_full" in facts.titles() else []
    named = ", ".join(repr(name) for name in dict.fromkeys(cohorts) if name != "None")
    chosen = f" RSNA 2018: cohort {named}." if named else ""
    return "Every film of a data set that can be read is scored; none was chosen by its content." + chosen


def _deidentification(facts: RunFacts) -> Statement | None:
    names, drawn = list(facts.titles()), bool(facts.arms) and not _own_images(facts)
    real = [facts.titles()[name] for name in names if name in REAL]
    text = "Training images are drawn, of no patient." if drawn else ""
    text += f" {', '.join(real)}: published de-identified." if real else ""
    if facts.simulated_datasets():
        text += " Simulated films show no patient."
    own = f"de-identification {OWN}" if _own_images(facts) or "folder" in names else ""
    return Statement(text.strip(), own) if text else None


def _missing_data(facts: RunFacts) -> str | None:
    films = _films(facts)
    if films.empty:
        return None
    told = []
    for name, rows in films.groupby("dataset", sort=False):
        gaps = [
            f"{column.replace('_id', '')} {int(rows[column].isna().sum()):,}"
            for column in ("patient_id", "view", "sex", "age")
            if column in rows and rows[column].isna().any()
        ]
        told.append(f"{name}: {', '.join(gaps) or 'none'}")
    return (
        f"Films without a value: {_listed(told)}. Such a film counts in all overall results and in no subgroup of that "
        "trait; a film of an unknown patient is a cluster of its own. Nothing is imputed in the classifier."
    )


def _by_dataset(facts: RunFacts, what: str) -> Statement | None:
    told, own = [], ""
    for name, title in facts.titles().items():
        known = SIMULATED if name in facts.simulated_datasets() else REAL.get(name)
        if known is None:
            own = f"{what} {OWN} ({title})"
        else:
            told.append(f"{title}: {known[what]}")
    return Statement("; ".join(told) + "." if told else "Own films.", own) if told or own else None


def _reference_standard(facts: RunFacts) -> Statement | None:
    return _by_dataset(facts, "reference")


def _annotators(facts: RunFacts) -> Statement | None:
    return _by_dataset(facts, "annotators")


def _acquisition(facts: RunFacts) -> Statement | None:
    return _by_dataset(facts, "acquisition")


def _blinding(facts: RunFacts) -> Statement | None:
    if not facts.titles():
        return None
    text = "Labels of the published and simulated sets were given without knowledge of this model's output."
    return Statement(text, f"blinding {OWN}" if "folder" in facts.titles() else "")


def _split_counts(facts: RunFacts) -> dict[str, tuple[int, int]]:
    return {
        name: (int((table["split"] == "train").sum()), int((table["split"] == "validation").sum()))
        for name, table in facts.splits.items()
    }


def _partitions(facts: RunFacts) -> Statement | None:
    counts = _split_counts(facts)
    told = _listed([f"{name} {train:,} and {validation:,}" for name, (train, validation) in counts.items()], "arms")
    testing = "Testing: the external films alone, which neither train nor choose anything."
    text = f"Training and validation images, by arm: {told}; by a hash of group and seed. {testing}"
    return _trained(facts, text if counts else None)


def _disjoint(facts: RunFacts) -> Statement | None:
    if not facts.splits:
        return None
    shared = sum(len(_parts(table, "train") & _parts(table, "validation")) for table in facts.splits.values())
    text = f"Prompt pair, or patient where that is known: {shared} groups are in both training and validation."
    if _own_images(facts):
        return Statement(text, "that your own training images and the films share no patient")
    return Statement(f"{text} Synthetic training images and external films share no patient by construction.")


def _parts(split: pd.DataFrame, part: str) -> set[str]:
    return set(split.loc[split["split"] == part, "group"]) if "group" in split else set()


def _sample_size(facts: RunFacts) -> str | None:
    rows = overall(facts)
    if rows.empty:
        return None
    widths = ((rows["ci_high"] - rows["ci_low"]) / 2)[rows["metric"] == "auroc"]
    counts = ", ".join(f"{title}" for title in facts.titles().values())
    return (
        f"All readable films of {counts} are used; the 95 % interval of AUROC is at most {widths.max():.3f} to either "
        "side of the value."
    )


def _model(facts: RunFacts) -> str | None:
    return _each_model(
        facts,
        lambda m: (
            f"{m['backbone']} (timm), {m['transform']['channels']} input channel(s) of "
            f"{m['transform']['size']} x {m['transform']['size']} pixels, one logit, its sigmoid is the probability of "
            "pneumonia"
        ),
    )


def _software(facts: RunFacts) -> str | None:
    versions: dict[str, str] = {}
    for stage in facts.stages.values():
        versions |= stage.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items()) + "." if versions else None


def _initialisation(facts: RunFacts) -> Statement | None:
    return _trained(facts, _each_model(facts, lambda m: f"{m['init']} weights, seed {m['seed']}", facts.arms))


def _training(facts: RunFacts) -> Statement | None:
    def tell(model: dict[str, Any]) -> str:
        settings = {key: value for key, value in model.get("training", {}).items() if not isinstance(value, dict)}
        return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items())

    told = _each_model(facts, tell, facts.arms)
    count = sum(name in facts.arms for name in facts.models)
    return _trained(facts, f"{count} model(s), one an arm. {told}" if told else None)


def _selection(facts: RunFacts) -> Statement | None:
    epochs = {name: model.get("training", {}).get("best_epoch") for name, model in facts.models.items()}
    told = ", ".join(f"{name} epoch {epoch}" for name, epoch in epochs.items() if epoch is not None)
    text = f"The epoch with the best AUROC on synthetic validation images: {told}. No film took part."
    return _trained(facts, text if told else None)


def _ensemble(facts: RunFacts) -> str | None:
    return "No: each arm is one network, and scores are not averaged." if facts.models else None


def _measures(facts: RunFacts) -> str | None:
    table = facts.table("metrics")
    return f"Measures: {', '.join(table['metric'].drop_duplicates())}." if len(table) else None


def _uncertainty(facts: RunFacts) -> str | None:
    table = facts.table("metrics")
    if table.empty:
        return None
    methods = ", ".join(table["ci_method"].dropna().drop_duplicates().astype(str).str.replace("_", " "))
    n = facts.parameters.get("n_resamples")
    first = ", ".join(primary(table)["ci_method"].dropna().drop_duplicates().astype(str).str.replace("_", " "))
    resamples = f", {n:,} resamples" if isinstance(n, int) else ""
    text = f"95 % intervals: {methods}{resamples}; the primary one is {first}."
    return text + _pairs(facts)


def _pairs(facts: RunFacts) -> str:
    table = facts.table("arm_differences")
    table = primary_pairs(table) if len(table) else table
    if table.empty:
        return ""
    told = [
        f"{row['dataset']}, {row['arm_a']} less {row['arm_b']}: {row['difference']:+.3f} ({row['ci_low']:+.3f} to "
        f"{row['ci_high']:+.3f}), p = {row['p_holm']:.3g} after Holm"
        for row in table[table["metric"] == "auroc"].to_dict("records")
    ]
    return " Arms are compared in pairs on the same films; AUROC: " + _listed(told, "more in the table") + "."


def primary_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `arm_differences.csv` whose method is the primary one."""
    return table[table["primary"].astype(str).str.lower().isin(("true", "1", "1.0"))]


def _robustness(facts: RunFacts) -> str | None:
    table = facts.table("robustness")
    if table.empty:
        return None
    kinds = ", ".join(table["change"].drop_duplicates().astype(str))
    told = []
    for (dataset, arm), part in table.groupby(["dataset", "arm"], sort=False):
        row = part.nlargest(1, "drop").iloc[0]
        told.append(f"{dataset}, {arm}: {row['drop']:.3f} under {row['change']}")
    return f"The same films under {kinds}; largest loss of AUROC: {_listed(told, 'more in the table')}."


def _explanation(facts: RunFacts) -> str | None:
    names = [name for name in facts.interpretability if facts.table(name).shape[0]]
    if not names:
        return None
    mapped = facts.stages.get("05_interpretability", {}).get("arms_with_grad_cam")
    maps = "no Grad-CAM, since no map of places is found in the network" if mapped == [] else "maps by Grad-CAM"
    text = f"Features by UMAP and K-means, {maps}."
    scored = [name for name in names if "saliency" in name or "pointing" in name]
    checked = f" Maps are scored against known places and against controls ({', '.join(scored)})." if scored else ""
    return text + checked + f" Tables: {', '.join(names)}."


def _internal(facts: RunFacts) -> str | None:
    told = [f"{name} {model['val_auroc']:.3f}" for name, model in facts.models.items() if model.get("val_auroc")]
    return f"AUROC on synthetic validation images, which says nothing of films: {_listed(told)}." if told else None


def _external(facts: RunFacts) -> str | None:
    titles = facts.titles()
    real = [title for name, title in titles.items() if name not in facts.simulated_datasets()]
    if not titles:
        return None
    return f"Yes: {', '.join(real)}." if real else "On simulated films alone: no real external data in this run."


def _flow(facts: RunFacts) -> str | None:
    counts = flow.counts_of(facts)
    if counts.empty:
        return None
    told = [
        f"{name}: " + ", ".join(f"{row['step']} {row['n']:,}" for row in rows[rows["kept"]].to_dict("records"))
        for (_, name), rows in counts.groupby(["part", "name"], sort=False)
    ]
    return _listed(told) + " (data-flow diagram and table)."


def _characteristics(facts: RunFacts) -> str | None:
    films = _films(facts)
    if films.empty:
        return None
    told = []
    for name, rows in films.groupby("dataset", sort=False):
        parts = [f"{facts.titles().get(str(name), str(name))}: {rows['label'].mean():.1%} pneumonia"]
        if "age" in rows and rows["age"].notna().any():
            low, middle, high = rows["age"].quantile([0.25, 0.5, 0.75])
            parts.append(f"age {middle:.0f} ({low:.0f} to {high:.0f})")
        for column, value in (("sex", "female"), ("view", "AP")):
            if column in rows and rows[column].notna().any():
                parts.append(f"{(rows[column].dropna() == value).mean():.1%} {value}")
        told.append(", ".join(parts))
    return "; ".join(told) + "."


def _performance(facts: RunFacts) -> str | None:
    rows = overall(facts)
    if rows.empty:
        return None
    told = [
        f"{facts.titles().get(str(dataset), str(dataset))}, {arm}: "
        + ", ".join(f"{row['metric'].upper()} {interval(row)}" for row in part.to_dict("records")[:2])
        for (dataset, arm), part in rows[rows["metric"].isin(("auroc", "aupr"))].groupby(["dataset", "arm"], sort=False)
    ]
    return _listed(told, "more in the metrics table") + "."


def _operating_point(facts: RunFacts) -> str | None:
    rows = overall(facts)
    rows = rows[rows["metric"].isin(("sensitivity", "specificity", "ppv", "npv"))] if len(rows) else rows
    if rows.empty:
        return None
    told = [
        f"{facts.titles().get(str(dataset), str(dataset))}, {arm}: "
        + ", ".join(f"{row['metric']} {interval(row)}" for row in part.to_dict("records"))
        for (dataset, arm), part in rows.groupby(["dataset", "arm"], sort=False)
    ]
    return "At the threshold frozen on synthetic validation images: " + _listed(told, "more in the metrics table") + "."


def _failures(facts: RunFacts) -> str | None:
    table = facts.table("predictions")
    if table.empty:
        return None
    told = []
    for (dataset, arm), rows in table.groupby(["dataset", "arm"], sort=False):
        high = rows[rows["label"] == 0].nlargest(3, "score")["image_id"]
        low = rows[rows["label"] == 1].nsmallest(3, "score")["image_id"]
        worst = f"normal with the highest scores {', '.join(high)}; pneumonia with the lowest {', '.join(low)}"
        told.append(f"{dataset}, {arm}: {worst}")
    return _listed(told, "more in predictions.csv") + "."


def limitations(facts: RunFacts) -> list[str]:
    """What a reader must know against the results, one sentence each: found in the run, not typed in."""
    found = []
    simulated = [name for name in facts.arms if facts.source_is_simulated(facts.arms[name].get("source", ""))]
    if simulated:
        found.append(f"Arms {', '.join(simulated)} were trained on simulated images, not on a general image model's.")
    titles = facts.titles()
    for name in facts.simulated_datasets():
        found.append(f"{titles[name]}: results on it say nothing of patients.")
    datasets = facts.table("datasets")
    if len(datasets):
        unknown = [titles[name] for name in datasets.loc[datasets["n_patients"].isna(), "dataset"]]
        if unknown:
            found.append(f"{', '.join(unknown)}: patients are unknown, so intervals take films for independent.")
    found += _beside_baselines(facts) + _beside_trained(facts) + _view_shortcut(facts)
    own = [name for name in facts.models if name not in facts.arms]
    if own:
        found.append(
            f"{', '.join(own)} was not trained in this run: whether films of these sets were among its training images "
            "cannot be seen here."
        )
    seeds = facts.table("seeds_summary")
    one_seed = len({stage.get("seed") for stage in facts.stages.values()}) == 1
    if facts.splits and one_seed and (seeds.empty or seeds["n_seeds"].min() < 2):
        found.append("One training seed: the spread between trainings is not in the intervals.")
    if facts.parameters.get("rsna_cohort") == "paper" and "rsna" in titles:
        beside = f" {titles['rsna_full']} stands beside it." if "rsna_full" in titles else ""
        found.append(
            "RSNA 2018 without its third class: the hard negatives are left out, which flatters every score." + beside
        )
    if not facts.table("metrics").empty and not _operating_point(facts):
        found.append("No operating point was evaluated.")
    if not facts.table("metrics").empty and facts.table("calibration").empty:
        found.append("Calibration was not evaluated.")
    return found


def _beside_baselines(facts: RunFacts) -> list[str]:
    """Each arm that does not beat the best one-number baseline of a data set, in a sentence."""
    table = facts.table("comparison")
    if table.empty:
        return []
    # What was trained on the set itself shows what the set gives away; it is no bar to clear.
    rows = table[(table["kind"] != "trained") & (table["verdict"] != "beats")]
    rows = rows.sort_values("baseline_auroc", ascending=False).drop_duplicates(["arm", "dataset"]).sort_index()
    return [
        f"{facts.titles().get(row['dataset'], row['dataset'])}: arm {row['arm']} (AUROC {row['auroc']:.3f}) "
        f"{row['verdict']} a trivial baseline that knows nothing of pneumonia: {row['title']}, "
        f"{row['baseline_auroc']:.3f} (difference {row['difference']:+.3f}, "
        f"{row['ci_low']:+.3f} to {row['ci_high']:+.3f})."
        for row in rows.to_dict("records")
    ]


def _beside_trained(facts: RunFacts) -> list[str]:
    """Each arm that does not beat the best baseline that was trained on the data set itself, marked as such."""
    table = facts.table("comparison")
    if table.empty:
        return []
    rows = table[(table["kind"] == "trained") & (table["verdict"] != "beats")]
    told = []
    titles = facts.titles()
    for (dataset, title, area), part in rows.groupby(["dataset", "title", "baseline_auroc"], sort=False):
        arms = "; ".join(f"{row['arm']} {row['auroc']:.3f}, {row['verdict']} it" for row in part.to_dict("records"))
        told.append(
            f"{titles.get(str(dataset), str(dataset))}: a trivial baseline trained on this very set reaches AUROC "
            f"{area:.3f} ({title}); no bar for an arm that never saw the set, but it shows what the set gives away "
            f"({arms})."
        )
    return told


def _view_shortcut(facts: RunFacts) -> list[str]:
    """Where the view alone tells pneumonia from normal, and what is left of each arm without it."""
    baselines, metrics = facts.table("baselines"), facts.table("metrics")
    if baselines.empty or metrics.empty:
        return []
    told = []
    rows = baselines[(baselines["baseline"] == "view") & (baselines["metric"] == "auroc")]
    for view in rows[rows["ci_low"] > 0.5].to_dict("records"):
        here = metrics[(metrics["dataset"] == view["dataset"]) & (metrics["metric"] == "auroc")]
        # What is adjusted for the view answers for the arm as a whole: all of it, and before its parts.
        adjusted, parts = (
            [
                f"{row['arm']} {row['subgroup']} {interval(row)}"
                for row in primary(here[here["subgroup"].isin(names)]).to_dict("records")
            ]
            for names in (("view-adjusted",), ("view AP", "view PA"))
        )
        left = "; ".join([*adjusted, *([_listed(parts, "more in the metrics table")] if parts else [])])
        within = f" Without it: {left}." if left else ""
        title = facts.titles().get(view["dataset"], view["dataset"])
        told.append(f"{title}: the view alone reaches AUROC {interval(view)}, so a score can rest on it.{within}")
    return told


def _limitations(facts: RunFacts) -> str | None:
    return " ".join(limitations(facts)) or None


def _intended_use(facts: RunFacts) -> str:
    return "Research on synthetic training data. Not a medical device; not for the care of patients."


def _details(facts: RunFacts) -> str | None:
    commits = sorted({str(stage["git_commit"]) for stage in facts.stages.values() if stage.get("git_commit")})
    told = f"commit {', '.join(commits)}" if commits else "no commit is known"
    return f"run.json in each stage's folder: parameters, seeds, versions, hashes of inputs; {told}."


def _availability(facts: RunFacts) -> str | None:
    hashes = [f"{name} {model['weights_sha256'][:12]}" for name, model in facts.models.items()]
    where = "in 03_training/<arm>/" if facts.arms else "in the checkpoints' folders"
    return f"Weights: checkpoint.safetensors {where} (SHA-256: {_listed(hashes, 'arms')})." if hashes else None


def _data_terms(facts: RunFacts) -> str | None:
    table = facts.table("datasets")
    if table.empty or "licence" not in table:
        return None
    return "; ".join(f"{facts.titles()[row['dataset']]}: {row['licence']}" for row in table.to_dict("records")) + "."


def _dates(facts: RunFacts) -> Statement | None:
    finished = sorted(str(stage["finished"]) for stage in facts.stages.values() if stage.get("finished"))
    return Statement(f"Run from {finished[0]} to {finished[-1]} (ends of its stages).") if finished else None


def _predictors(facts: RunFacts) -> str | None:
    return "The pixels of one frontal film; no clinical variable, and no one's judgement." if facts.models else None


def _heterogeneity(facts: RunFacts) -> str | None:
    rows = overall(facts)
    if rows.empty:
        return None
    areas = rows[rows["metric"] == "auroc"]
    told = [
        f"{arm} {part['value'].min():.3f} to {part['value'].max():.3f}"
        for arm, part in areas.groupby("arm", sort=False)
        if len(part) > 1
    ]
    return f"AUROC across data sets, lowest to highest: {_listed(told, 'arms')}." if told else None


def _updating(facts: RunFacts) -> str | None:
    if not facts.titles():
        return None
    table = facts.table("calibration")
    if table.empty:
        return "No updating: each model is scored as it was trained."
    told = [
        f"{dataset}, {arm}, {kind}: " + ", ".join(f"{row['metric']} {interval(row)}" for row in part.to_dict("records"))
        for (dataset, arm, kind), part in table.groupby(["dataset", "arm", "probabilities"], sort=False)
    ]
    return "Calibration before and after recalibration: " + _listed(told, "more in the calibration table") + "."


def _prediction(facts: RunFacts) -> str | None:
    devices = sorted(
        {str(s["device"]) for name, s in facts.stages.items() if name.startswith("04") and s.get("device")}
    )
    told = f" on {', '.join(devices)}" if devices else ""
    return (
        f"One pass of each film through each arm's network{told}; score = sigmoid of its logit (predictions.csv)."
        if facts.table("predictions").shape[0]
        else None
    )


def _imbalance(facts: RunFacts) -> Statement | None:
    text = "Training sees as many images of either class; nothing is done to the films' classes."
    return _trained(facts, text if facts.splits else None)


def _fairness(facts: RunFacts) -> str | None:
    told = _subgroups(facts)
    balance = (
        ""
        if _own_images(facts) or not facts.arms
        else "Prompts share sex, age, view and habitus between the classes, pair by pair. "
    )
    return f"{balance}{told}" if told else None


def _subgroups(facts: RunFacts) -> str | None:
    table = facts.table("metrics")
    table = primary(table[(table["subgroup"] != "all") & (table["metric"] == "auroc")]) if len(table) else table
    if table.empty:
        return None
    # What is adjusted for the view first: it is of all films.
    table = table.sort_values("subgroup", key=lambda names: names != "view-adjusted", kind="stable")
    told = [f"{row['dataset']}, {row['arm']}, {row['subgroup']}: {interval(row)}" for row in table.to_dict("records")]
    return "AUROC by subgroup: " + _listed(told, "more in the metrics table") + "."


def _output(facts: RunFacts) -> str | None:
    if not facts.models:
        return None
    point = "a threshold frozen on synthetic validation images" if _operating_point(facts) else "no threshold is set"
    return f"A number from 0 to 1, higher for pneumonia; {point}."


def _difference(facts: RunFacts) -> str | None:
    films = _films(facts)
    if films.empty or not facts.splits:
        return None
    shares = sorted({round(float(pd.to_numeric(table["label"]).mean()), 3) for table in facts.splits.values()})
    train = " to ".join(f"{share:.1%}" for share in sorted({shares[0], shares[-1]}))
    tests = ", ".join(
        f"{facts.titles().get(str(name), str(name))} {rows['label'].mean():.1%}"
        for name, rows in films.groupby("dataset", sort=False)
    )
    origin = "Development images are synthetic, evaluation films come from elsewhere."
    return f"{origin} Pneumonia: development {train}; {tests}."


def _counts(facts: RunFacts) -> str | None:
    told = [
        f"{name}: {len(table):,} images, {int(pd.to_numeric(table['label']).sum()):,} with pneumonia"
        for name, table in facts.splits.items()
    ]
    return _listed(told, "arms") + "." if told else None


def _specification(facts: RunFacts) -> str | None:
    if not facts.models:
        return None
    return (
        "Each network's folder: checkpoint.safetensors (weights), model.json (network, transform, settings, versions)."
    )


def _interpretation(facts: RunFacts) -> str | None:
    rows = overall(facts)
    if rows.empty or facts.table("comparison").empty:
        return None
    behind = _beside_baselines(facts)
    first = behind or [
        "Every arm beats the best one-number baseline of every data set, whichever way round it is used."
    ]
    return " ".join([*first, *_beside_trained(facts)])


def _poor_input(facts: RunFacts) -> str | None:
    if not facts.titles():
        return None
    return "A film that cannot be read is left out and listed with its reason; it gets no score."


def _user_skill(facts: RunFacts) -> str:
    return "A table of film paths; no preparation of a film by hand."


TOPICS: dict[str, Callable[[RunFacts], Statement | str | None]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        *(
            _category,
            _question,
            _design,
            _goal,
            _training_sources,
            _evaluation_sources,
        ),
        *(
            _eligibility,
            _preprocessing,
            _subsets,
            _deidentification,
            _missing_data,
            _reference_standard,
        ),
        *(
            _annotators,
            _acquisition,
            _blinding,
            _partitions,
            _disjoint,
            _sample_size,
        ),
        *(
            _model,
            _software,
            _initialisation,
            _training,
            _selection,
            _ensemble,
        ),
        *(
            _measures,
            _uncertainty,
            _robustness,
            _explanation,
            _internal,
            _external,
        ),
        *(
            _flow,
            _characteristics,
            _performance,
            _operating_point,
            _failures,
            _limitations,
        ),
        *(
            _intended_use,
            _details,
            _availability,
            _data_terms,
            _dates,
            _predictors,
        ),
        *(
            _heterogeneity,
            _updating,
            _prediction,
            _imbalance,
            _fairness,
            _subgroups,
        ),
        *(
            _output,
            _difference,
            _counts,
            _specification,
            _interpretation,
            _poor_input,
        ),
        *(_user_skill,),
    )
}
