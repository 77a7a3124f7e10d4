"""The model card of a run: what was trained on what, how it does, and what to hold against it, from the run's files.

After Mitchell et al., Model Cards for Model Reporting, 2019 (doi 10.1145/3287560.3287596).
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nbhelpers.reporting import flow, limitations, pages, run_facts, statements
from nbhelpers.reporting.result_tables import pairs, subgroups, wide
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs.files import write_bytes
from nbhelpers.style import named

NOTHING = "Not part of this run.\n"
OPEN = (
    "Owner of the models and a contact.",
    "Licence under which the weights may be used.",
    "Ethical considerations beyond the limitations above.",
    "How to cite the models.",
)


def write(run_folder: Path | str) -> Path:
    """Write `model_card.md` into the run's folder, and the same as `model_card.html`; returns the path of the first."""
    from nbconvert.filters.markdown import markdown2html

    facts = run_facts.read(run_folder)
    text = markdown(facts)
    path = facts.folder / "model_card.md"
    write_bytes(path, text.encode())
    pages.write_page(path.with_suffix(".html"), "model_card.html", run=facts.name, body=str(markdown2html(text)))
    return path


def markdown(facts: RunFacts) -> str:
    """The card as Markdown; text from the run's files is escaped, so that none of it becomes markup."""
    sections = [
        (f"# Model card: run {_text(facts.name)}", _summary(facts)),
        ("## Models", _table(_models(facts)) + _said(facts, "internal")),
        ("## Intended use", _said(facts, "intended_use", "poor_input", "user_skill")),
        ("## Training data", _said(facts, "training_sources", "preprocessing", "partitions", "disjoint")),
        ("## Evaluation data", _table(_datasets(facts)) + _said(facts, "reference_standard", "missing_data")),
        ("## Results", _table(wide(facts, facts.overall("auroc", "aupr"), films=True)) + _said(facts, "uncertainty")),
        ("## Comparison of the arms", _table(pairs(facts)) or _one_arm(facts)),
        ("## Comparison with trivial baselines", _said(facts, "interpretation")),
        ("## Subgroups", _table(subgroups(facts))),
        (
            "## Operating point and calibration",
            _table(wide(facts, facts.table("calibration"), "probabilities"))
            + _said(facts, "operating_point", "output"),
        ),
        ("## Robustness", _said(facts, "robustness")),
        ("## Limitations", _bullets(limitations.of_run(facts))),
        ("## Data flow", _table(_flow(facts))),
        ("## Computing", _table(_computing(facts)) + _said(facts, "software", "details")),
        (
            "## To be completed by the authors",
            _bullets(OPEN) + "See also `checklists/`, where open items are listed.\n",
        ),
    ]
    return "\n".join(f"{heading}\n\n{body or NOTHING}" for heading, body in sections)


def _summary(facts: RunFacts) -> str:
    told = [statements.state(topic, facts) for topic in ("question", "category", "goal")]
    lines = [_text(statement.text) for statement in told if statement is not None]
    simulated = [name for name in facts.arms if facts.is_simulated(name)]
    films = [facts.titles()[name] for name in facts.simulated_datasets()]
    if simulated or films:
        what = [f"training images of {', '.join(map(named, simulated))}"] if simulated else []
        what += [f"films of {', '.join(films)}"] if films else []
        lines.append(f"\n> Simulated in this run: {_text(' and '.join(what))}. Such results do not apply to patients.")
    return "\n".join(lines) + "\n"


def _said(facts: RunFacts, *topics: str) -> str:
    told = [statements.state(topic, facts) for topic in topics]
    return "".join(f"\n{_text(statement.text)}\n" for statement in told if statement is not None).lstrip("\n")


def _models(facts: RunFacts) -> pd.DataFrame:
    rows = []
    for name, model in facts.models.items():
        arm, images = model.get("arm", {}), model.get("training", {}).get("images", {})
        mark = " (simulated)" if model.get("simulated") else ""
        rows.append(
            {
                "arm": named(name),
                "trained on": f"{named(arm.get('source'))}{mark}, crop {arm.get('crop')}",
                "images": images.get("train"),
                "network": model.get("backbone"),
                "start": model.get("init_origin") or model.get("init"),
                "method": arm.get("method"),
                "pixels": model.get("transform", {}).get("size"),
                "seed": model.get("seed"),
                "AUROC, synthetic validation": _number(model.get("val_auroc")),
                "weights (SHA-256)": str(model.get("weights_sha256", ""))[:12],
            }
        )
    return pd.DataFrame(rows)


def _datasets(facts: RunFacts) -> pd.DataFrame:
    rows = [
        {
            **{"data set": row["title"], "films": row["n"], "pneumonia": f"{row['prevalence']:.1%}"},
            "patients": "unknown" if row["patients"] is None else row["patients"],
            **{"left out": row["excluded"], "terms": row["licence"]},
        }
        for row in facts.datasets()
    ]
    return pd.DataFrame(rows)


def _flow(facts: RunFacts) -> pd.DataFrame:
    counts = flow.flow_counts(facts)
    lost = counts["reason"].fillna("").astype(str).str.replace("_", " ")
    step = counts["step"].where(counts["kept"], "left out: " + lost)
    told = {"n_pneumonia": "pneumonia", "n_normal": "others", "negatives": "others are"}
    names = [facts.titles().get(str(name), named(name)) for name in counts["name"]]
    return counts.assign(step=step, name=names)[["name", "step", "n", *told]].rename(columns=told)


def _one_arm(facts: RunFacts) -> str:
    return "One network: no comparison.\n" if len(facts.models) == 1 else ""


def _computing(facts: RunFacts) -> pd.DataFrame:
    rows = [
        {"stage": name, "device": stage.get("device"), "seconds": stage.get("wall_seconds"), "seed": stage.get("seed")}
        for name, stage in facts.stages.items()
    ]
    return pd.DataFrame(rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _text(value: object) -> str:
    """Text of unknown origin as harmless Markdown: no tag, no table border, no line break."""
    text = " ".join(html.escape(str(value), quote=False).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`").replace("[", "\\[").replace("*", "\\*")


def _table(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + " --- |" * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join("" if pd.isna(value) else _text(value) for value in row) + " |")
    return "\n".join(lines) + "\n\n"


def _bullets(items: Iterable[str]) -> str:
    return "".join(f"- {_text(item)}\n" for item in items) + "\n"
