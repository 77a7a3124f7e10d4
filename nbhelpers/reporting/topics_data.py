"""What a run says of its images and films: each public function is a topic of the checklists and the model card."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from nbhelpers.reporting.flow import flow_counts
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.reporting.topic import KNOWN, OWN, Statement, each, each_model, listed, trained_here
from nbhelpers.style import named


def training_sources(facts: RunFacts) -> str | None:
    """Images of each source, and the models that drew them."""
    told = []
    for source, table in facts.images.items():
        drawn = table[table["status"] == "ok"]
        models = ", ".join(sorted(drawn["model"].dropna().astype(str).unique())) or "unnamed model"
        simulated = " (simulated)" if facts.source_is_simulated(source) else ""
        told.append(f"{named(source)}{simulated}: {len(drawn):,} images drawn by {models}")
    return "Training images: " + listed(told) + "." if told else None


def evaluation_sources(facts: RunFacts) -> str | None:
    """Films and patients of each data set."""
    told = []
    for row in facts.datasets():
        patients = "patients unknown" if row["patients"] is None else f"{row['patients']:,} patients"
        part = f", {facts.partial()[row['dataset']]}" if row["dataset"] in facts.partial() else ""
        told.append(f"{row['title']}: {row['n']:,} films{part}, {patients}, {row['prevalence']:.1%} pneumonia")
    return "Films: " + listed(told) + "." if told else None


def _each_flow(facts: RunFacts, tell: Callable[[pd.DataFrame], str]) -> str:
    groups = flow_counts(facts).groupby(["part", "name"], sort=False)
    return listed(
        f"{facts.title(name) if part == 'evaluation' else named(name)}: {tell(rows)}" for (part, name), rows in groups
    )


def _missing(facts: RunFacts) -> str:
    """What the authors must say of data sets of which a part alone was there; empty where all are whole."""
    told = [f"{facts.title(name)}, {part}" for name, part in facts.partial().items()]
    return f"why a part of the set alone was there, and how it was drawn: {'; '.join(told)}" if told else ""


def _with_parts(facts: RunFacts) -> str:
    told = "; ".join(f"{facts.title(name)}: {part}" for name, part in facts.partial().items())
    return f" Scored: {told}." if told else ""


def eligibility(facts: RunFacts) -> Statement | None:
    """What was left out, by reason."""

    def tell(rows: pd.DataFrame) -> str:
        lost = rows[~rows["kept"]].to_dict("records")
        return ", ".join(f"{row['n']:,} {row['reason']}".replace("_", " ") for row in lost) or "nothing"

    told = _each_flow(facts, tell)
    if not told:
        return None
    text = f"Left out, by reason: {told}. The rest is in; see the data-flow table.{_with_parts(facts)}"
    return Statement(text, _missing(facts))


def preprocessing(facts: RunFacts) -> str | None:
    """Crop, quality control, and what the network is given."""
    size = each_model(
        facts,
        lambda m: (
            f"{m['transform']['size']} x {m['transform']['size']} pixels, gray, "
            f"standardised by {m['transform']['standardise']}"
        ),
    )
    if size is None:
        return None
    films = facts.parameters.get("film_crop", "none")
    if not facts.arms:
        return f"Crop of the films: {films}. Network input: {size}"
    crops = ", ".join(f"{named(name)} {arm.get('crop')}" for name, arm in facts.arms.items())
    margins = facts.parameters.get("crop_margins")
    cut = f" (margins left, top, right, bottom: {margins})" if margins else ""
    return (
        f"Crop of the training images: {crops}{cut}; crop of the films: {films}. Quality control leaves out what is "
        f"unreadable, too small, no radiograph or a near-duplicate, by rules that do not see the label. "
        f"Network input: {size}"
    )


def subsets(facts: RunFacts) -> Statement | None:
    """Which films of the data sets are scored."""
    titles = facts.titles()
    if not titles:
        return None
    cohorts = [facts.parameters.get("rsna_cohort")] if "rsna" in titles else []
    cohorts += ["full"] if "rsna_full" in titles else []
    named = ", ".join(repr(str(name)) for name in dict.fromkeys(cohorts) if name is not None)
    chosen = f" RSNA 2018: cohort {named}." if named else ""
    text = "Every film of a data set that is there and can be read is scored; none was chosen by its content."
    return Statement(text + chosen + _with_parts(facts), _missing(facts))


def deidentification(facts: RunFacts) -> Statement | None:
    """Whose images and films they are."""
    titles = facts.titles()
    real = [title for name, title in titles.items() if name in KNOWN["datasets"]]
    text = ["Training images are drawn, of no patient."] if facts.arms and not facts.own_images else []
    text += [f"{', '.join(real)}: published de-identified."] if real else []
    text += ["Simulated films show no patient."] if facts.simulated_datasets() else []
    own = f"de-identification {OWN}" if facts.own_images or "folder" in titles else ""
    return Statement(" ".join(text), own) if text else None


def missing_data(facts: RunFacts) -> str | None:
    """Films without a trait, and how they count."""

    def tell(rows: pd.DataFrame) -> str:
        known = [name for name in ("patient_id", "view", "sex", "age") if name in rows and rows[name].isna().any()]
        return ", ".join(f"{name.replace('_id', '')} {int(rows[name].isna().sum()):,}" for name in known) or "none"

    films = facts.films
    if films.empty:
        return None
    told = each(films, ["dataset"], tell, titles=facts.titles())
    return (
        f"Films without a value: {told}. Such a film counts in all overall results and in no "
        "subgroup of that trait; a film of an unknown patient is a cluster of its own. Nothing is imputed in the "
        "classifier."
    )


def _by_dataset(facts: RunFacts, what: str) -> Statement | None:
    told, own = [], ""
    for name, title in facts.titles().items():
        known = KNOWN["simulated"] if name in facts.simulated_datasets() else KNOWN["datasets"].get(name)
        if known is None:
            own = f"{what} {OWN} ({title})"
        else:
            told.append(f"{title}: {known[what]}")
    return Statement("; ".join(told) + "." if told else "Own films.", own) if told or own else None


def reference_standard(facts: RunFacts) -> Statement | None:
    """What pneumonia means in each data set."""
    return _by_dataset(facts, "reference")


def annotators(facts: RunFacts) -> Statement | None:
    """Who labelled each data set."""
    return _by_dataset(facts, "annotators")


def acquisition(facts: RunFacts) -> Statement | None:
    """How the films of each data set were taken."""
    return _by_dataset(facts, "acquisition")


def partitions(facts: RunFacts) -> Statement | None:
    """Training and validation images of each arm."""
    split = {name: table["split"].value_counts() for name, table in facts.splits.items()}
    told = listed(
        (f"{named(name)} {n.get('train', 0):,} and {n.get('validation', 0):,}" for name, n in split.items()), "arms"
    )
    testing = "Testing: the external films alone, which neither train nor choose anything."
    text = f"Training and validation images, by arm: {told}; by a hash of group and seed. {testing}"
    return trained_here(facts, text if split else None)


def disjoint(facts: RunFacts) -> Statement | None:
    """Groups that are in both training and validation."""
    if not facts.splits:
        return None
    shared = 0
    for table in facts.splits.values():
        train, validation = (set(table.loc[table["split"] == part, "group"]) for part in ("train", "validation"))
        shared += len(train & validation)
    text = f"Prompt pair, or patient where that is known: {shared} groups are in both training and validation."
    if facts.own_images:
        return Statement(text, "that your own training images and the films share no patient")
    return Statement(f"{text} Synthetic training images and external films share no patient by construction.")


def sample_size(facts: RunFacts) -> str | None:
    """All films, and how wide the intervals are."""
    rows = facts.overall("auroc")
    if rows.empty:
        return None
    widest = ((rows["ci_high"] - rows["ci_low"]) / 2).max()
    return (
        f"All films of {', '.join(facts.titles().values())} that are there and can be read are used; the 95 % "
        f"interval of AUROC is at most "
        f"{widest:.3f} to either side of the value."
    )


def characteristics(facts: RunFacts) -> str | None:
    """Prevalence, age, sex and view of each data set."""
    told = []
    for name, rows in facts.films.groupby("dataset", sort=False) if len(facts.films) else ():
        parts = [f"{facts.title(name)}: {rows['label'].mean():.1%} pneumonia"]
        if "age" in rows and rows["age"].notna().any():
            low, middle, high = rows["age"].quantile([0.25, 0.5, 0.75])
            parts.append(f"age {middle:.0f} ({low:.0f} to {high:.0f})")
        for column, value in (("sex", "female"), ("view", "AP")):
            if column in rows and rows[column].notna().any():
                parts.append(f"{(rows[column].dropna() == value).mean():.1%} {value}")
        told.append(", ".join(parts))
    return "; ".join(told) + "." if told else None


def flow(facts: RunFacts) -> Statement | None:
    """Images and films at each step."""

    def tell(rows: pd.DataFrame) -> str:
        return ", ".join(f"{row['step']} {row['n']:,}" for row in rows[rows["kept"]].to_dict("records"))

    told = _each_flow(facts, tell)
    return Statement(f"{told} (data-flow diagram and table).{_with_parts(facts)}", _missing(facts)) if told else None


def counts(facts: RunFacts) -> str | None:
    """Images of each arm, and how many of them show pneumonia."""
    told = [
        f"{named(name)}: {len(table):,} images, {int(pd.to_numeric(table['label']).sum()):,} with pneumonia"
        for name, table in facts.splits.items()
    ]
    return listed(told, "arms") + "." if told else None


def difference(facts: RunFacts) -> str | None:
    """Prevalence of development and evaluation data."""
    films = facts.films
    if films.empty or not facts.splits:
        return None
    shares = sorted({round(float(pd.to_numeric(table["label"]).mean()), 3) for table in facts.splits.values()})
    train = " to ".join(f"{share:.1%}" for share in sorted({shares[0], shares[-1]}))
    prevalence = films.groupby("dataset", sort=False)["label"].mean()
    tests = ", ".join(f"{facts.title(name)} {share:.1%}" for name, share in prevalence.items())
    origin = "Development images are synthetic, evaluation films come from elsewhere."
    return f"{origin} Pneumonia: development {train}; {tests}."


def data_terms(facts: RunFacts) -> str | None:
    """The terms of each data set."""
    table = facts.table("datasets")
    if table.empty or "licence" not in table:
        return None
    return "; ".join(f"{facts.title(row['dataset'])}: {row['licence']}" for row in table.to_dict("records")) + "."


def dates(facts: RunFacts) -> str | None:
    """When the run was made."""
    finished = sorted(str(stage["finished"]) for stage in facts.stages.values() if stage.get("finished"))
    return f"Run from {finished[0]} to {finished[-1]} (ends of its stages)." if finished else None
