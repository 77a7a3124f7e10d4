"""How far an arm's scores differ from one training seed to the next, beside the sampling interval of one seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from nbhelpers.metrics.bootstrap import metrics_of
from nbhelpers.metrics.discrimination import METRICS
from nbhelpers.networks.trained import Network, load_seeds
from nbhelpers.runs import Stage
from nbhelpers.validation import scores

COLUMNS = ["arm", "dataset", "seed", "metric", "value"]
SUMMARY_COLUMNS = ["arm", "dataset", "metric", "n_seeds", "mean", "sd", "min", "max", "first", "ci_low", "ci_high"]


def predict(
    names: Iterable[str],
    trained: Mapping[str, Network],
    films: Mapping[str, scores.Films],
    stage: Stage,
    extra_seeds: int = 0,
    batch_size: int = 64,
    crop: str = "none",
) -> pd.DataFrame:
    """Scores of the further trainings of each arm on the same films; kept as `scores.predict` keeps them.

    `names` are the arms that this run trained (a checkpoint of the user's own has one seed), `trained` the first
    training of each, from `trained.load_arms`. The run of `stage` holds the networks; what is read is noted as its
    inputs. The rest is as `scores.predict` takes it.

    Returns
    -------
    DataFrame
        The columns of `scores.predict` and `seed`; empty when there is no further seed.

    Raises
    ------
    UserError
        When one is not trained, or was trained otherwise than the network that `trained` holds.
    """
    tables = []
    for name in names:
        for seed, arm in load_seeds(trained[name], extra_seeds, stage).items():
            scored = scores.predict({name: arm}, films, stage.run_folder, stage.device, batch_size, crop)
            tables.append(scored.assign(seed=seed))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS, "label", "score"])


def seeds_table(
    names: Iterable[str], trained: Mapping[str, Network], predictions: pd.DataFrame, others: pd.DataFrame
) -> pd.DataFrame:
    """AUROC and AUPR of every seed of the arms `names`: `arm, dataset, seed, metric, value`, the first seed first.

    `predictions` are the first seeds', `others` from `predict`.
    """
    seeds = {name: trained[name].description.seed for name in names}
    first = predictions[predictions["arm"].isin(list(seeds))]
    rows = []
    for part in (first.assign(seed=first["arm"].map(seeds)), others):
        for (arm, dataset, seed), films in part.groupby(["arm", "dataset", "seed"], sort=False):
            values = metrics_of(films["label"], films["score"])
            rows += [(arm, dataset, seed, *found) for found in zip(METRICS, values, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": float})


def summary(by_seed: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """The spread over seeds beside the sampling interval of the first one.

    `by_seed` is from `seeds_table`; of `results`, from `evaluation.metrics_table`, the primary rows of all films are
    taken.

    Returns
    -------
    DataFrame
        `arm, dataset, metric, n_seeds, mean, sd` (of the sample, n - 1; empty for one seed)`, min, max`, then of the
        first seed `first, ci_low, ci_high` and the interval's `interval_width`.
    """
    keys = ["arm", "dataset", "metric"]
    spread = by_seed.groupby(keys, sort=False)["value"].agg(["size", "mean", "std", "min", "max"]).reset_index()
    spread = spread.rename(columns={"size": "n_seeds", "std": "sd"})
    chosen = results[results["primary"].astype(bool) & (results["subgroup"] == "all")]
    intervals = chosen[[*keys, "value", "ci_low", "ci_high"]].rename(columns={"value": "first"})
    found = spread.merge(intervals, on=keys, how="left", validate="one_to_one")[SUMMARY_COLUMNS]
    return found.assign(interval_width=found["ci_high"] - found["ci_low"])
