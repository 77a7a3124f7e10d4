"""The results of notebook 04 as report and model card show them: names in words, each value with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nbhelpers.metrics import wording
from nbhelpers.metrics.decisions import RATES
from nbhelpers.reporting.run_facts import RunFacts, interval, primary
from nbhelpers.style import named

TITLES = {
    "operating_point": ("Operating point", ["roc_pr"]),
    "calibration": ("Calibration", ["calibration"]),
    "pairs": ("Comparison of the arms", []),
    "subgroups": ("Subgroups", ["subgroups"]),
    "robustness": ("Robustness", ["robustness"]),
}
LEADS = {
    "operating_point": "Each network's threshold was frozen on its validation images before any film was scored. PPV "
    "and NPV hold at this prevalence alone.",
    "calibration": "Ideal are an intercept of 0 and a slope of 1; a smaller Brier score is better. Recalibrated here: "
    "on these films, out of fold.",
    "pairs": "Differences on the same films. Holm's correction is over the pairs of a data set, metric and method; "
    "DeLong's test treats films as independent.",
    "subgroups": "Within each view, sex and age band that is known. Adjusted for view: both classes reweighted "
    "to the same mix of views.",
    "robustness": "For each arm, the alteration of the films with the largest loss of AUROC, compared with the "
    "unaltered films.",
}


def sections(facts: RunFacts) -> list[dict[str, Any]]:
    """Each result whose table the run has written: `name, title, lead, columns, rows, figures`."""
    tables = {
        "operating_point": wide(facts, facts.overall(*RATES), films=True),
        "calibration": wide(facts, facts.table("calibration"), "probabilities"),
        "pairs": pairs(facts),
        "subgroups": subgroups(facts),
        "robustness": largest_losses(facts),
    }
    return [
        {
            **{"name": name, "title": TITLES[name][0], "lead": LEADS[name], "figures": TITLES[name][1]},
            **{"columns": list(table), "rows": table.fillna("").to_numpy().tolist()},
        }
        for name, table in tables.items()
        if len(table)
    ]


def wide(facts: RunFacts, table: pd.DataFrame, *more: str, films: bool = False) -> pd.DataFrame:
    """A row a data set, arm and `more`; a column a metric, each value with its interval, or why it has none."""
    by, rows = ["dataset", "arm", *more], []
    for key, part in table.groupby(by, sort=False) if len(table) else ():
        row = {"data set": facts.title(key[0])} | {
            name: named(value) for name, value in zip(by[1:], key[1:], strict=True)
        }
        row |= {"films": f"{n:,.0f}" if pd.notna(n := part["n"].iloc[0]) else ""} if films else {}
        rows.append(row | {named(found["metric"]): _cell(found) for found in part.to_dict("records")})
    return pd.DataFrame(rows)


def _cell(row: Mapping[Any, Any]) -> str:
    few = row.get("ci_method") == "too_few"
    if math.isnan(row["value"]):
        return "too few of a class" if few else "undefined"
    return interval(row) + (" (too few patients for an interval)" if few else "")


def pairs(facts: RunFacts) -> pd.DataFrame:
    """Each pair of arms by every method: the difference, and its p value before and after Holm's correction."""
    floor = wording.p_floor(int(facts.parameters.get("n_resamples", 2000))) * (1 + 1e-9)
    rows = []
    for row in facts.table("arm_differences").to_dict("records"):
        least = "bootstrap" in str(row["method"]) and row["p_value"] <= floor
        rows.append(
            {
                "data set": facts.title(row["dataset"]),
                "arms": f"{named(row['arm_a'])} minus {named(row['arm_b'])}",
                "metric": named(row["metric"]),
                "difference": wording.difference(row["difference"], row["ci_low"], row["ci_high"]),
                "p": wording.p_text(row["p_value"], least),
                "p after Holm": wording.p_text(row["p_holm"], least),
                "method": wording.method(row["method"]),
            }
        )
    return pd.DataFrame(rows)


def subgroups(facts: RunFacts) -> pd.DataFrame:
    """AUROC and AUPR of each subgroup, a row an arm."""
    table = primary(facts.table("metrics", metric=["auroc", "aupr"]))
    return wide(facts, table[table["subgroup"] != "all"], "subgroup", films=True) if len(table) else table


def largest_losses(facts: RunFacts) -> pd.DataFrame:
    """For each data set and arm the change of the films that costs the most AUROC."""
    table = facts.table("robustness")
    rows = []
    for (dataset, arm), part in table.groupby(["dataset", "arm"], sort=False) if len(table) else ():
        row = part.nlargest(1, "drop").to_dict("records")[0]
        ends = (-row.get("drop_high", math.nan), -row.get("drop_low", math.nan))
        rows.append(
            {
                **{"data set": facts.title(dataset), "arm": named(arm)},
                "under": named(row["change"]),
                **{"strength": f"{row.get('strength', math.nan):g}"},
                "change of AUROC": wording.difference(-row["drop"], *ends),
                "films": f"{row['n']:,.0f}" if pd.notna(row.get("n")) else "",
            }
        )
    return pd.DataFrame(rows)
