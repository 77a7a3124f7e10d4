"""Does a saliency map meet the lesion? Scores against boxes or masks, beside control maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nbhelpers.films.film_set import FilmSet
from nbhelpers.interpretability.grad_cam import MapLayer, Maps, find_layer, grad_cam, resize_maps
from nbhelpers.interpretability.sampling import FilmSample, Truths, sample_films, truth_of
from nbhelpers.metrics.bootstrap import bootstrap_means, group_codes
from nbhelpers.metrics.intervals import wilson
from nbhelpers.metrics.overlap import energy_inside, iou, pointing_game, rank_similarity
from nbhelpers.networks import models
from nbhelpers.networks.preprocessing import Transform, to_tensor
from nbhelpers.networks.trained import Network
from nbhelpers.runs.progress import progress
from nbhelpers.style import named

# What is scored, and what figures call it; all are between 0 and 1 but the last.
SCORES = {
    "pointing": "pointing game\n(peak in the lesion)",
    "energy": "energy\nin the lesion",
    "iou": "IoU\nwith the lesion",
    "in_lungs": "energy\nin the lungs",
}
SIMILARITY = "similarity_to_randomised"
BASELINES = ("centre_prior", "random_map", "randomised_weights")
CENTRE_SD = 0.25  # of the centre prior, as a share of the image's side
RANDOM_NETWORKS = 5  # weight-randomised networks behind the control: one alone would be one throw of a die
_SEED_STEP = 7919  # so that no randomised network is the one that training started from
_SIMILARITIES = [f"{SIMILARITY}_{draw}" for draw in range(1, RANDOM_NETWORKS + 1)]


def map_title(name: str) -> str:
    """What readers call a control map; the second kind of a control (`random_map_2`) keeps its number."""
    control = next((one for one in BASELINES if name.startswith(one)), name)
    return f"{named(control)} {name.removeprefix(control).strip('_')}".strip()


def centre_prior(n: int, size: int) -> Maps:
    """The same map for every film: a Gaussian at the centre, `CENTRE_SD` of the side wide; float32 `(n, s, s)`."""
    along = (np.arange(size) + 0.5) / size - 0.5
    bell = np.exp(-(along**2) / (2 * CENTRE_SD**2)).astype(np.float32)
    return np.broadcast_to(bell[:, None] * bell[None, :], (n, size, size))


def localise(
    networks: Mapping[str, Network],
    sample: FilmSample,
    seed: int = 0,
    threshold: float = 0.5,
    batch_size: int = 16,
) -> pd.DataFrame:
    """Scores of every map on every film of a sample whose truth is known.

    Maps are those of each fine-tuned network (`grad_cam.kind_of_map`), and what each is held against: a Gaussian at
    the centre, noise on the same grid, and maps of `RANDOM_NETWORKS` networks of the same backbone with all weights
    drawn anew. Arms of one backbone and transform (size, channels, standardisation) share these controls; those of the
    second such kind are called `centre_prior_2` and so on. A network that keeps no map of places is left out.

    `networks` are from `trained.load_networks`; films without any truth give no row. `seed` is of noise and randomised
    weights, `threshold` for `iou`.

    Returns
    -------
    DataFrame
        One row per map and film, of the randomised networks one each (`draw`, from 1): `dataset, map, controls` (what
        the names of the arm's own controls end in)`, draw, image_id, patient_id, label`, the scores of `SCORES` (NaN
        where they do not apply), for arms `SIMILARITY` to the mean randomised network and to each, and `empty` (the map
        is zero everywhere). On such a map `energy` counts 0, as `pointing` and `iou` do; `in_lungs` is not defined and
        left out.
    """
    arms = [network for network in networks.values() if network.fine_tuned]
    rows: list[pd.DataFrame] = []
    seen: dict[tuple[str, Transform, str], tuple[str, list[Maps], Truths]] = {}
    for network in progress(arms, desc=f"maps of {sample.film_set.name}", unit="network"):
        kind = (network.description.backbone, network.description.transform, str(network.description.probe))
        layer = find_layer(network.model, network.description.transform.channels, network.size)
        if layer is None:
            continue
        if kind not in seen:
            truth = truth_of(sample, network.size)
            if not (truth.lesion_known | truth.lungs_known).any():
                return _score_columns(pd.DataFrame())
            ending = f"_{len(seen) + 1}" if seen else ""
            seen[kind] = ending, _randomised_grids(network, layer, sample, seed, batch_size), truth
            for name, draw, maps in _control_maps(seen[kind][1], network.size, seed):
                scored = _score(maps, truth, sample, threshold)
                rows.append(scored.assign(map=name + ending, controls=ending, draw=draw))
        ending, randomised, truth = seen[kind]
        grids = _grids(network.model, layer, network, sample, batch_size)
        scored = _score(resize_maps(grids, network.size), truth, sample, threshold)
        alike = np.stack([rank_similarity(grids, others) for others in randomised], axis=1)
        known = np.isfinite(alike).sum(axis=1)
        mean = np.divide(np.nansum(alike, axis=1), known, out=np.full(len(alike), np.nan), where=known > 0)
        each = pd.DataFrame(alike, columns=_SIMILARITIES, index=sample.films.index).assign(**{SIMILARITY: mean})
        rows.append(scored.assign(map=network.name, controls=ending).join(each))
    return _score_columns(pd.concat(rows, ignore_index=True) if rows else pd.DataFrame())


def localise_sets(
    networks: Mapping[str, Network],
    sets: Mapping[str, FilmSet],
    n: int,
    seed: int = 0,
    threshold: float = 0.5,
    crop: str = "none",
    batch_size: int = 16,
) -> pd.DataFrame:
    """`localise` on at most `n` films of each set that tells where its lesions are; no row when none does."""
    sizes = {network.size for network in networks.values()}
    tables = [_score_columns(pd.DataFrame())]
    for film_set in sets.values():
        if film_set.truth is not None and film_set.films["truth_known"].any():
            known = film_set.films.loc[film_set.films["truth_known"], "image_id"]
            sample = sample_films(film_set, sizes, n, seed, crop, only=known)
            tables.append(localise(networks, sample, seed, threshold, batch_size))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _score_columns(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["dataset", "map", "controls", "draw", "image_id", "patient_id", "label", *SCORES, SIMILARITY]
    return table.reindex(columns=[*columns, *_SIMILARITIES, "empty"])


def _grids(model: Any, layer: MapLayer, network: Network, sample: FilmSample, batch_size: int) -> Maps:
    transform = network.description.transform
    images = sample.images[transform.size]
    starts = range(0, len(images), 256)  # float tensors of all films need not fit into memory
    return np.concatenate(
        [
            grad_cam(model, to_tensor(images[start : start + 256], transform), layer, batch_size, upsample=False)
            for start in starts
        ]
    )


def _randomised_grids(network: Network, layer: MapLayer, sample: FilmSample, seed: int, batch_size: int) -> list[Maps]:
    """Maps of networks with all weights drawn anew, `RANDOM_NETWORKS` of them."""
    device = next(network.model.parameters()).device
    found = []
    for draw in range(1, RANDOM_NETWORKS + 1):
        randomised = models.rebuild(network.description, "random", seed + draw * _SEED_STEP).to(device).eval()
        found.append(_grids(randomised, layer, network, sample, batch_size))
    return found


def _control_maps(randomised: list[Maps], size: int, seed: int) -> Iterator[tuple[str, int | None, Maps]]:
    """Each control's name, which of the randomised networks it is, and its maps; one at a time: they are large."""
    prior, noise, weights = BASELINES
    n, grid = randomised[0].shape[0], randomised[0].shape[-1]
    yield prior, None, centre_prior(n, size)
    coarse = np.random.default_rng([seed, grid]).random((n, grid, grid), dtype=np.float32)  # as Grad-CAM's
    yield noise, None, resize_maps(coarse, size)
    for draw, grids in enumerate(randomised, start=1):
        yield weights, draw, resize_maps(grids, size)


def _score(maps: Maps, truth: Truths, sample: FilmSample, threshold: float) -> pd.DataFrame:
    table = sample.films[["image_id", "patient_id", "label"]].assign(dataset=sample.film_set.name)
    known = truth.lesion_known
    for name, values in (
        ("pointing", pointing_game(maps, truth.lesion)),
        ("energy", np.nan_to_num(energy_inside(maps, truth.lesion), nan=0.0)),
        ("iou", iou(maps, truth.lesion, threshold)),
    ):
        table[name] = np.where(known, values, np.nan)
    table["in_lungs"] = np.where(truth.lungs_known, energy_inside(maps, truth.lungs), np.nan)
    table["empty"] = maps.max(axis=(1, 2)) <= 0
    return table[known | truth.lungs_known]


def summarise_scores(films: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean of every score by data set and map, and how far each arm is from the control maps, with 95 % intervals.

    `films` is from `localise`. Patients are drawn where they are known, else films; maps of a set share the resamples.

    Returns
    -------
    DataFrame
        `dataset, map, metric, value, ci_low, ci_high, n, n_patients, sd_networks, empty` (share of maps that are zero
        everywhere), and for arms `<baseline>_less` with `_low` and `_high`: the mean difference from the arm's own
        control over the films on which both have the score. What rests on randomised networks is the mean over them;
        `sd_networks` is its spread from network to network, and its interval holds that too, by Student's t. A score
        that is 0 or 1 on all films has Wilson's interval, whose n is the number of patients, or of films.
    """
    rows: list[dict[str, Any]] = []
    for dataset, here in films.groupby("dataset", sort=False):
        endings = here.drop_duplicates("map").set_index("map")["controls"].fillna("").to_dict()
        about = here.drop_duplicates("image_id").set_index("image_id")["patient_id"]
        for metric in (*SCORES, SIMILARITY):
            # Of several randomised networks a film has the mean.
            wide = here.pivot_table(index="image_id", columns="map", values=metric, sort=False, dropna=False)
            wide = wide[[name for name in here["map"].unique() if name in wide and wide[name].notna().any()]]
            if wide.empty:
                continue
            patients = about.reindex(wide.index)
            own = {
                (name, control): control + endings[name]
                for name in map(str, wide)
                for control in (() if name.startswith(BASELINES) else BASELINES)
                if control + endings[name] in wide
            }
            less = {key: wide[key[0]] - wide[control] for key, control in own.items()}
            drawn = pd.DataFrame(
                bootstrap_means(
                    np.column_stack([wide.to_numpy(), *less.values()]),
                    patients.reset_index(drop=True),
                    n_resamples,
                    seed,
                ),
                columns=pd.Index([*wide.columns, *less], tupleize_cols=False),
            )
            spread = {name: _between_networks(here[here["map"] == name], metric) for name in map(str, wide)}
            # What a resample adds for the networks that were drawn, in standard errors: Student's t, as they are few.
            noise = np.random.default_rng([seed, 11]).standard_t(RANDOM_NETWORKS - 1, n_resamples)
            certain = {name: _wilson_if_certain(wide[name], patients) for name in map(str, wide)}
            lowest = -1 if metric == SIMILARITY else 0
            ends = {
                name: certain[name] or _interval((drawn[name] + spread[name].error * noise).clip(lowest, 1))
                for name in certain
            }
            for name, (low, high) in ends.items():
                known = wide[name].notna()
                row: dict[str, Any] = {"dataset": dataset, "map": name, "metric": metric, "value": wide[name].mean()}
                row |= {
                    "ci_low": low,
                    "ci_high": high,
                    "n": int(known.sum()),
                    "n_patients": patients[known].nunique() or None,
                }
                row |= {"sd_networks": spread[name].sd, "empty": float(here.loc[here["map"] == name, "empty"].mean())}
                for (arm, baseline), control in own.items():
                    difference = less[arm, baseline]
                    if arm != name or difference.isna().all():
                        continue
                    between = _interval(drawn[arm, baseline] - spread[control].error * noise)
                    if certain[name] or certain[control]:
                        sides = (wide[name].mean(), ends[name]), (wide[control].mean(), ends[control])
                        between = _of_difference(difference.mean(), *sides)
                    values = (difference.mean(), *between)
                    row |= dict(zip((f"{baseline}_less{end}" for end in ("", "_low", "_high")), values, strict=True))
                rows.append(row)
    columns = ["dataset", "map", "metric", "value", "ci_low", "ci_high", "n", "n_patients", "sd_networks", "empty"]
    more = [f"{baseline}_less{end}" for baseline in BASELINES for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*columns, *more])


class _Spread(NamedTuple):
    """From one randomised network to the next: standard deviation of their scores, and standard error of the mean."""

    sd: float
    error: float


def _between_networks(rows: pd.DataFrame, metric: str) -> _Spread:
    """How far the randomised networks lie apart in a score, all on the same films; 0 where none took part."""
    if metric == SIMILARITY:
        means = rows[_SIMILARITIES].mean().dropna().to_numpy()
    else:
        means = rows.dropna(subset="draw").groupby("draw")[metric].mean().dropna().to_numpy()
    if not len(means):
        return _Spread(float("nan"), 0.0)
    sd = float(means.std(ddof=1)) if len(means) > 1 else float("nan")
    return _Spread(sd, sd / np.sqrt(len(means)) if len(means) > 1 else 0.0)


def _wilson_if_certain(values: pd.Series, patients: pd.Series) -> tuple[float, float] | None:
    """Wilson's interval of a score that is 0, or 1, on all films: there every resample is alike, and tells nothing.

    Its n is the number of patients; a film without one counts alone.
    """
    mean, known = float(values.mean()), values.notna()
    if mean not in (0.0, 1.0):
        return None
    n = len(np.unique(group_codes(patients[known], int(known.sum()))))
    return wilson(mean * n, n)


def _of_difference(
    difference: float, a: tuple[float, tuple[float, float]], b: tuple[float, tuple[float, float]]
) -> tuple[float, float]:
    """Interval of a difference from value and interval of its sides (Newcombe, Stat. in Medicine 17 (1998) 873-890)."""
    (of_a, (low_a, high_a)), (of_b, (low_b, high_b)) = a, b
    low, high = np.hypot(of_a - low_a, high_b - of_b), np.hypot(high_a - of_a, of_b - low_b)
    return float(difference - low), float(difference + high)


def _interval(values: pd.Series) -> tuple[float, float]:
    if values.isna().all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def similarities(summary: pd.DataFrame) -> pd.DataFrame:
    """Correlation of each arm's maps with the randomised network's: `dataset, arm, spearman, ci_low, ci_high, n`."""
    here = summary[summary["metric"] == SIMILARITY].rename(columns={"map": "arm", "value": "spearman"})
    return here[["dataset", "arm", "spearman", "ci_low", "ci_high", "n"]].reset_index(drop=True)
