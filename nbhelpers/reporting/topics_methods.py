"""What a run says of how it was made: each public function is a topic of the checklists and the model card."""

from __future__ import annotations

from typing import Any

from nbhelpers.metrics import wording
from nbhelpers.reporting.run_facts import RunFacts, primary
from nbhelpers.reporting.topic import Statement, each_model, listed, together, trained_here
from nbhelpers.style import marked, named


def category(facts: RunFacts) -> str | None:
    """Kind of method."""
    backbones = sorted({str(model["backbone"]) for model in facts.models.values()})
    return f"Deep learning: image classification by {', '.join(backbones)}." if backbones else None


def question(facts: RunFacts) -> str | None:
    """The question that the run asks."""
    sources = facts.sources
    drawn = ", ".join(marked(named(name), facts.source_is_simulated(name)) for name in sources)
    targets = ", ".join(facts.titles().values()) or "external films"
    if not sources and facts.models:
        one = len(facts.models) == 1
        what = "does {}, a checkpoint" if one else "do {}, checkpoints"
        return f"How well {what.format(together(facts.models))} of the user's own, work on {targets}?"
    return f"Can images drawn by {drawn} train a classifier of pneumonia that works on {targets}?" if sources else None


def design(facts: RunFacts) -> Statement | None:
    """Prospective, retrospective or in silico."""
    titles = facts.titles()
    if not titles:
        return None
    if len(facts.simulated_datasets()) == len(titles):
        return Statement("In silico: every evaluated film is simulated; no patient's film is scored.")
    text = "Retrospective: films that existed before are scored."
    return Statement(text, "whether your own films were collected for this study" if "folder" in titles else "")


def goal(facts: RunFacts) -> str | None:
    """What is developed and what is evaluated."""
    targets = ", ".join(facts.titles().values())
    if not facts.arms:
        return f"External evaluation on {targets}; nothing is developed." if targets else None
    compared = f"{len(facts.arms)} arms ({', '.join(map(named, facts.arms))})" if len(facts.arms) > 1 else "one arm"
    evaluated = f", external evaluation on {targets}" if targets else ""
    return (
        f"Feasibility: development of {compared} on synthetic images{evaluated}; arms are compared on the same films."
    )


def model(facts: RunFacts) -> str | None:
    """Network, input and output."""
    return each_model(
        facts,
        lambda m: (
            f"{m['backbone']} (timm), {m['transform']['channels']} input channel(s) of "
            f"{m['transform']['size']} x {m['transform']['size']} pixels, one logit, its sigmoid is the probability of "
            "pneumonia"
        ),
    )


def software(facts: RunFacts) -> str | None:
    """Versions of what the run used."""
    versions: dict[str, str] = {}
    for stage in facts.stages.values():
        versions |= stage.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items()) + "." if versions else None


def initialisation(facts: RunFacts) -> Statement | None:
    """The weights that training starts from."""
    return trained_here(
        facts,
        each_model(facts, lambda m: f"{m.get('init_origin') or m['init'] + ' weights'}, seed {m['seed']}", facts.arms),
    )


def training(facts: RunFacts) -> Statement | None:
    """Settings of the training."""

    def tell(model: dict[str, Any]) -> str:
        looks = {f"probe {key}": " ".join(map(str, value)) for key, value in model.get("probe", {}).items()}
        settings = {"method": model.get("arm", {}).get("method", "finetune")} | looks
        settings |= {key: value for key, value in model.get("training", {}).items() if not isinstance(value, dict)}
        return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items())

    told = each_model(facts, tell, facts.arms)
    count = sum(name in facts.arms for name in facts.models)
    return trained_here(facts, f"{count} model(s), one an arm. {told}" if told else None)


def imbalance(facts: RunFacts) -> Statement | None:
    """Classes in training."""
    text = "Training sees as many images of either class; nothing is done to the films' classes."
    return trained_here(facts, text if facts.splits else None)


def selection(facts: RunFacts) -> Statement | None:
    """How the epoch, or the strength of a probe, was chosen."""
    words = {"best_epoch": "epoch", "strength": "ridge strength"}
    chosen = {
        name: f"{named(name)} {words[key]} {value:g}"
        for name, model in facts.models.items()
        for key, value in model.get("training", {}).items()
        if key in words and value is not None
    }
    pairs = [name for name, model in facts.models.items() if model.get("arm", {}).get("method") == "pairs"]
    told = [f"By AUROC on synthetic validation images: {', '.join(chosen.values())}."] if chosen else []
    told += (
        [f"Nothing was chosen for {listed(map(named, pairs))}: weights from pairs have no setting."] if pairs else []
    )
    return trained_here(facts, " ".join([*told, "No film took part."]) if told else None)


def measures(facts: RunFacts) -> str | None:
    """Measures of performance."""
    table = facts.table("metrics")
    return f"Measures: {', '.join(map(named, table['metric'].drop_duplicates()))}." if len(table) else None


def uncertainty(facts: RunFacts) -> str | None:
    """Methods of the intervals, and the arms in pairs."""
    table = facts.table("metrics")
    if table.empty:
        return None
    methods, first = (
        together(map(wording.method, rows.loc[rows["ci_low"].notna(), "ci_method"].dropna().drop_duplicates()))
        for rows in (table, facts.overall("auroc", "aupr"))
    )
    few = " Where patients or films of a class are too few, a value has no interval." * bool(
        (table["ci_method"] == "too_few").any()
    )
    n = facts.parameters.get("n_resamples")
    resamples = f", {n:,} resamples" if isinstance(n, int) else ""
    pairs = listed(
        (
            f"{facts.title(row['dataset'])}, {named(row['arm_a'])} less {named(row['arm_b'])}: "
            f"{wording.difference(row['difference'], row['ci_low'], row['ci_high'])}, "
            f"p {_p(row['p_holm'])} after Holm"
            for row in primary(facts.table("arm_differences", metric="auroc")).to_dict("records")
        ),
        "more in the table",
    )
    compared = f" Arms are compared in pairs on the same films; AUROC: {pairs}." if pairs else ""
    return f"95 % intervals: {methods}{resamples}; to quote: {first or 'none'}.{few}{compared}"


def _p(value: float) -> str:
    told = wording.p_text(value)
    return told if told.startswith("<") else f"= {told}" if told else "not known"


def explanation(facts: RunFacts) -> str | None:
    """Maps and clusters, and what they are checked against."""
    names = [name for name in facts.interpretability if facts.table(name).shape[0]]
    if not names:
        return None
    mapped = facts.stages.get("05_interpretability", {}).get("arms_with_grad_cam")
    maps = "no Grad-CAM, since no map of places is found in the network" if mapped == [] else "maps by Grad-CAM"
    files = [f"{name}.csv" for name in names]
    scored = ", ".join(name for name in files if "saliency" in name or "pointing" in name)
    checked = f" Maps are scored against known places and against controls ({scored})." if scored else ""
    return f"Features by UMAP and K-means, {maps}.{checked} Tables: {', '.join(files)}."


def prediction(facts: RunFacts) -> str | None:
    """How scores were computed."""
    if facts.table("predictions").empty:
        return None
    devices = sorted(
        {str(s["device"]) for name, s in facts.stages.items() if name.startswith("04") and s.get("device")}
    )
    told = f" on {', '.join(devices)}" if devices else ""
    return f"One pass of each film through each arm's network{told}; score = sigmoid of its logit (predictions.csv)."


def details(facts: RunFacts) -> str:
    """Where more is written."""
    commits = sorted({str(stage["git_commit"]) for stage in facts.stages.values() if stage.get("git_commit")})
    told = f"commit {', '.join(commits)}" if commits else "no commit is known"
    return f"run.json in each stage's folder: parameters, seeds, versions, hashes of inputs; {told}."


def availability(facts: RunFacts) -> str | None:
    """Where the weights are."""
    hashes = [f"{named(name)} {model['weights_sha256'][:12]}" for name, model in facts.models.items()]
    where = "in 03_training/<arm>/" if facts.arms else "in the checkpoints' folders"
    return f"Weights: checkpoint.safetensors {where} (SHA-256: {listed(hashes, 'arms')})." if hashes else None
