"""The run at a glance: `outputs/<run>/index.html`, one page that opens with no network, from the files of the run."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nbhelpers.metrics import Interval, wording
from nbhelpers.reporting import (
    answers,
    figure_cells,
    flow,
    limitations,
    pages,
    parameter_rows,
    result_tables,
    run_facts,
    statements,
)
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs.parameters import sources_of
from nbhelpers.runs.stage import duration, notebook_name
from nbhelpers.style import marked, named
from nbhelpers.validation import published

WORDS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("report.yaml").read_text(encoding="utf-8"))
CAPTIONS: dict[str, str] = WORDS["figures"]  # the paper's


def write(run_folder: Path | str) -> Path:
    """Write `index.html` from what the run has written, and return its path.

    A stage that has not run leaves its section out; nothing is filled in for it.

    Raises
    ------
    UserError
        When the folder holds no run, or a table in it is broken.
    """
    facts = run_facts.read(run_folder)
    return pages.write_page(facts.folder / "index.html", "report.html", **page_facts(facts))


def page_facts(facts: RunFacts) -> dict[str, Any]:
    """Everything that the template shows, as plain values."""
    stages, figures = _stages(facts), _figures(facts)
    question = statements.state("question", facts)
    running = not {"04_external_validation", "05_interpretability"} <= set(facts.stages)
    return {
        "run": facts.name,
        "heading": _heading(facts),
        "question": question.text if question else "",
        "answers": [answer._asdict() for answer in answers.answers(facts)],
        "sources": _sources(facts),
        "datasets": _datasets(facts),
        "all_simulated": _all_simulated(facts),
        "some_simulated": any(row["origin"] == "simulated" for row in _sources(facts) + _datasets(facts)),
        "no_real_training": facts.arms == facts.scored_arms
        and all(row["origin"] != "own images" for row in _sources(facts)),
        "results": _results(facts),
        "seeds": _seeds(facts),
        "caveats": limitations.of_run(facts),
        "flows": _flows(facts),
        "clusters": _clusters(facts),
        "editing": _editing(facts),
        "segmentation": _segmentation(facts),
        "networks_asked_for": bool(facts.scored_arms),
        "figures": figures,
        "missing_figures": [] if running else [n for n in CAPTIONS if not _there(facts, f"figures/{n}.png")],
        "stages": stages,
        "total_time": duration(sum(stage["seconds"] for stage in stages)),
        "parameters": parameter_rows.rows(facts),
        "differing": parameter_rows.differing(facts),
        "sections": _sections(facts, figures),
        "versions": _one_or_all([stage.get("versions", {}) for stage in facts.stages.values()]),
        "commits": sorted({str(stage.get("git_commit") or "unknown") for stage in facts.stages.values()}),
        "documents": [(title, path) for title, path in WORDS["documents"].items() if _there(facts, path)],
    }


def _heading(facts: RunFacts) -> str:
    """The run and what it puts together, e.g. `Run demo: simulated images, simulated films`."""
    images = " and ".join(dict.fromkeys(row["origin"] for row in _sources(facts))) or (
        "own checkpoints" if facts.scored_arms else "masks" if facts.segmentation else "edits"
    )
    films = " and ".join(dict.fromkeys(row["origin"].removesuffix(" films") for row in _datasets(facts)))
    trained = images if images.endswith(("images", "checkpoints", "masks", "edits")) else f"{images} images"
    return f"Run {facts.name}: {trained}" + (f", {films} films" if films else "")


def _sources(facts: RunFacts) -> list[dict[str, Any]]:
    rows = []
    for source in facts.sources:
        table = facts.images.get(source)
        drawn = table[table["status"] == "ok"] if table is not None else pd.DataFrame({"model": []})
        rows.append(
            {
                "name": named(source),
                "origin": _origin(facts, source),
                "model": ", ".join(sorted(drawn["model"].dropna().astype(str).unique())),
                "n": len(drawn),
                "arms": ", ".join(named(name) for name, arm in facts.arms.items() if source in sources_of(arm)),
            }
        )
    return rows


def _origin(facts: RunFacts, source: str) -> str:
    if facts.source_is_simulated(source):
        return "simulated"
    return "own images" if source == "folder" else "generated"


def _datasets(facts: RunFacts) -> list[dict[str, Any]]:
    return [
        row
        | {
            "title": _plain(row["title"]),
            "origin": facts.origin(row["dataset"]),
            "part": facts.partial().get(row["dataset"], ""),
            "notes": [note["note"] for note in facts.table("notes", dataset=row["dataset"]).to_dict("records")],
        }
        for row in facts.datasets()
    ]


def _all_simulated(facts: RunFacts) -> bool:
    return all(map(facts.is_simulated, facts.scored_arms)) and all(row["simulated"] for row in facts.datasets())


def _results(facts: RunFacts) -> list[dict[str, Any]]:
    """For each data set its arms, then its trivial baselines, with AUROC and AUPR."""
    table = facts.overall("auroc", "aupr")
    results = []
    for dataset in _datasets(facts):
        name = dataset["dataset"]
        rows = table[table["dataset"] == name] if len(table) else table
        arms = [
            {
                **facts.scored_arms[str(arm)],
                **{"name": named(arm), "source": named(facts.scored_arms[str(arm)].get("source"))},
                **_metrics(part),
                "simulated": facts.is_simulated(str(arm)),
                "verdict": _verdict(facts, name, str(arm)),
            }
            for arm, part in (rows.groupby("arm", sort=False) if len(rows) else ())
            if arm in facts.scored_arms
        ]
        own = facts.table("baselines", dataset=name)
        others: list[dict[str, Any]] = [
            {"name": str(title), "uses_labels": bool(part["uses_labels"].iloc[0]), **_metrics(part)}
            for title, part in (own.groupby("title", sort=False) if len(own) else ())
        ]
        others.sort(key=lambda row: row["auroc"].value if row["auroc"] else 0.0, reverse=True)
        known = rows[rows["ci_low"].notna()] if len(rows) else rows
        results.append(
            {
                **dataset,
                "arms": arms,
                "baselines": others,
                "paper": published.reference(name, dataset["n"]),
                "citation": published.CITATION,
                "interval_by": " and ".join(map(wording.method, known["ci_method"].unique())) if len(known) else "",
            }
        )
    return results


def _seeds(facts: RunFacts) -> list[dict[Hashable, Any]]:
    """The spread over training seeds, where there is more than one of an arm."""
    rows = facts.table("seeds_summary").to_dict("records")
    return [
        row | {"dataset": facts.title(row["dataset"]), "arm": named(row["arm"]), "metric": named(row["metric"])}
        for row in rows
        if row["n_seeds"] > 1
    ]


def _captions(facts: RunFacts) -> dict[str, str]:
    """The paper's figures, then the further ones of the run as it is now: an earlier experiment may have left others.

    The diamond is told of only where figure 2 has one.
    """
    sets = facts.datasets()
    diamond = published.ARM in facts.scored_arms and any(published.reference(row["dataset"], row["n"]) for row in sets)
    doses = facts.table("dose")
    shown = {
        "seeds": bool(_seeds(facts)),
        "saliency": len(facts.table("saliency")) > 0,
        "dose": len(doses) > 0 and len(set(doses["images"])) > 1,
    }
    more = {name: caption for name, caption in WORDS["more_figures"].items() if shown.get(name, True)}
    kinds = {
        arm: figure_cells.OF_AN_ARM if entry.get("method") == "lesions" else figure_cells.OF_AN_ARM[:1]
        for arm, entry in facts.arms.items()
    }
    own = {f"{kind}_{arm}": WORDS[kind].format(arm=named(arm)) for arm, these in kinds.items() for kind in these}
    return CAPTIONS | {"figure_2": CAPTIONS["figure_2"] + f" {WORDS['diamond']}" * diamond} | more | own


def _metrics(part: pd.DataFrame) -> dict[str, Interval | None]:
    """AUROC and AUPR with the ends of their intervals, which are the value where there is none."""
    known = part.assign(ci_low=part["ci_low"].fillna(part["value"]), ci_high=part["ci_high"].fillna(part["value"]))
    rows = known.drop_duplicates("metric", keep="last").set_index("metric")[["value", "ci_low", "ci_high"]]
    return {name: Interval(*rows.loc[name]) if name in rows.index else None for name in ("auroc", "aupr")}


def _verdict(facts: RunFacts, dataset: str, arm: str) -> str:
    """Beside the best one-number baseline of either kind, the strictest comparison that needs no training."""
    rows = facts.table("comparison", dataset=dataset, arm=arm)
    rows = rows[rows["kind"] != "trained"].nlargest(1, "baseline_auroc") if len(rows) else rows
    for row in rows.to_dict("records"):
        found = wording.verdict(row["verdict"])
        return (
            f"{found} the best trivial baseline: {row['title']}, {row['baseline_auroc']:.3f}{limitations.chosen(row)}"
        )
    return ""


def _plain(title: object) -> str:
    """A title without the word that the page shows as a mark beside it."""
    return str(title).replace(" (simulated)", "")


def _flows(facts: RunFacts) -> list[dict[str, Any]]:
    """For each arm and data set its steps, each with its count and what was left out on the way to it."""
    counts = flow.flow_counts(facts)
    flows = []
    for (part, name), rows in counts.groupby(["part", "name"], sort=False):
        steps = []
        for step, group in rows.groupby("step", sort=False):
            kept = group[group["kept"]]
            lost = group[~group["kept"]].to_dict("records")
            steps.append(
                {
                    "name": step,
                    "n": int(kept["n"].sum()),
                    "classes": None
                    if kept["n_pneumonia"].isna().any()
                    else f"{int(kept['n_pneumonia'].sum()):,} pneumonia + {int(kept['n_normal'].sum()):,} "
                    + str(kept["negatives"].iloc[0]),
                    "left_out": [(str(row["reason"]).replace("_", " "), int(row["n"])) for row in lost],
                }
            )
        title, simulated = _plain(rows["title"].iloc[0]), bool(rows["simulated"].iloc[0])
        real = _origin(facts, facts.arms[str(name)]["source"]) if part == "training" else facts.origin(str(name))
        flows.append({"title": title, "origin": "simulated" if simulated else real, "steps": steps})
    return flows


def _clusters(facts: RunFacts) -> list[dict[Hashable, Any]]:
    return [
        row
        | {
            "dataset": facts.title(row["dataset"]),
            "arm": _marked(facts, str(row["arm"])),
            "majority": max(row["prevalence"], 1 - row["prevalence"]) if "prevalence" in row else None,
        }
        for row in facts.table("clusters").to_dict("records")
    ]


def _editing(facts: RunFacts) -> list[dict[str, Any]]:
    """What each editor of notebook 06 did over all its tasks."""
    table = facts.editing.get("overall")
    if table is None or table.empty:
        return []
    rows = table[table["kind"] == "all"].to_dict("records")
    digits = {"error_inside": 1, "error_outside": 1, "error_outside_aligned": 1, "change_iou": 2}
    return [
        {"editor": row["editor"].replace("_", " "), "came": f"{row['n_came']:.0f} of {row['n']:.0f}"}
        | {
            name: wording.interval(row[name], row[f"{name}_low"], row[f"{name}_high"], places)
            if row[name] == row[name]
            else ""
            for name, places in digits.items()
        }
        | {
            "cost": "none" if pd.isna(row["cost_usd"]) else f"{row['cost_usd']:.2f} USD",
            "simulated": facts.edits_simulated(),
        }
        for row in rows
    ]


def _segmentation(facts: RunFacts) -> list[dict[Hashable, Any]]:
    """All cases, and those that the specialist finds hardest and easiest, of each set of notebook 07."""
    table, sets = facts.segmentation.get("comparison"), facts.segmentation.get("datasets")
    if table is None or sets is None:
        return []
    known = sets.set_index("dataset")
    stand_in = bool(facts.segmentation["models"]["stand_in"].any())
    rows = table[table["selection"].isin(["all", "specialist"])].to_dict("records")
    return [
        row
        | {
            "title": _plain(known.loc[row["dataset"], "title"]),
            "simulated": bool(known["simulated"][row["dataset"]]),
            "omnimodel": "stand-in (no omnimodel)" if stand_in else "omnimodel",
            "p": wording.p_text(row["swap_p"]),
            "told": wording.difference(row["difference"], row["ci_low"], row["ci_high"]),
        }
        for row in rows
    ]


def _marked(facts: RunFacts, name: str) -> str:
    return marked(named(name) if name in facts.scored_arms else name.replace("_", " "), facts.is_simulated(name))


def _there(facts: RunFacts, path: str) -> str | None:
    """A path in the run's folder, if a file is there."""
    return path if (facts.folder / path).is_file() else None


def _sections(facts: RunFacts, figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The further results, each with its figures that are there."""
    drawn = {figure["name"]: figure for figure in figures}
    return [
        section | {"figures": [drawn[name] for name in section["figures"] if name in drawn]}
        for section in result_tables.sections(facts)
    ]


def _alt(facts: RunFacts, name: str, caption: str) -> str:
    """What a figure shows, for who does not see it: its form, and of figure 2 its values."""
    kind = name.partition("_")[0]
    told = [WORDS["forms"].get(kind if kind in figure_cells.OF_AN_ARM else name, ""), caption]
    if name == "figure_2":
        rows = facts.overall("auroc", "aupr").to_dict("records")
        told += [
            f"{facts.title(row['dataset'])}, {named(row['arm'])}: {named(row['metric'])} {run_facts.interval(row)}."
            for row in rows
        ]
    return " ".join(filter(None, told))


def _figures(facts: RunFacts) -> list[dict[str, Any]]:
    made_in = figure_cells.cells(facts)
    return [
        {
            "name": name,
            "alt": _alt(facts, name, caption),
            "title": name.replace("figure_", "Figure ") if name.startswith("figure_") else "",
            "caption": caption,
            "badge": _badge(facts, name),
            "cell": made_in.get(name),
        }
        for name, caption in _captions(facts).items()
        if _there(facts, f"figures/{name}.png")
        and (name != "figure_6" or facts.segmentation)
        and (name not in ("figure_5", "editing_chain") or facts.editing)
    ]


def _badge(facts: RunFacts, figure: str) -> str:
    """What a figure's mark says of simulation; empty where nothing in it is simulated."""
    if figure in ("figure_5", "editing_chain"):
        return facts.edits_simulated() if figure == "figure_5" else "simulated"
    if figure == "figure_6":
        simulated = facts.segmentation["datasets"]["simulated"]
        return "simulated" if simulated.all() else "in part simulated" if simulated.any() else ""
    kind, _, arm = figure.partition("_")
    training = kind in figure_cells.OF_AN_ARM
    arms = [arm] if training else list(facts.scored_arms)
    drawn = [facts.is_simulated(arm) for arm in arms]
    if training or figure in ("figure_1", "crops"):
        return "simulated" if drawn and all(drawn) else "in part simulated" if any(drawn) else ""
    if _all_simulated(facts):
        return "simulated"
    told = ["trained on simulated images" if all(drawn) else "some arms trained on simulated images"] * any(drawn)
    films, known = len(facts.simulated_datasets()), len(facts.table("datasets"))
    told += ["simulated films" if films == known else "some films simulated"] * (films > 0)
    return ", ".join(told)


def _stages(facts: RunFacts) -> list[dict[str, Any]]:
    rows = []
    for name, stage in facts.stages.items():
        title, _, arm = name.partition("/")
        copy = f"notebooks/{notebook_name(title, arm or None)}"
        rows.append(
            {
                "name": title,
                "arm": arm,
                "question": WORDS["questions"].get(title, ""),
                "html": _there(facts, f"{copy}.html"),
                "notebook": _there(facts, f"{copy}.ipynb"),
                "seconds": float(stage.get("wall_seconds", 0)),
                "time": duration(float(stage.get("wall_seconds", 0))),
                "device": str(stage.get("device", "")),
                "finished": str(stage.get("finished", "")).replace("T", " ").replace("+00:00", " UTC"),
            }
        )
    return rows


def _one_or_all(found: list[dict[str, str]]) -> dict[str, str]:
    """Versions that all stages share; where they differ, each of them."""
    names = dict.fromkeys(name for versions in found for name in versions)
    return {name: ", ".join(dict.fromkeys(v[name] for v in found if name in v)) for name in names}
