"""How diverse a source's images are, by class: coverage of what was asked, near-duplicates, spread of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbhelpers.images import duplicates
from nbhelpers.images.files import read_gray, resize_gray
from nbhelpers.networks import features, models, weights
from nbhelpers.networks.preprocessing import Transform, load_images
from nbhelpers.prompting.prompts import LEVELS
from nbhelpers.runs.files import inside
from nbhelpers.runs.tables import LABELS

LEAST = 4  # images of a class under which nothing is measured
LAYOUT_SIDE = 16  # pixels along a side of the thumbnails that tell left from right
DUPLICATE_BITS = 6  # of 256: hash distance at or under which two images may be near-duplicates


@dataclass(frozen=True)
class Embedding:
    """Images as numbers."""

    features: NDArray[np.float32]  # (n, d), pooled penultimate features of a timm backbone
    layout: NDArray[np.float32]  # (n, 256), 16 x 16 thumbnails of mean 0: where things are, which pooling forgets
    twins: NDArray[np.int64]  # (n,), index of an earlier near-duplicate of the same source, or -1


def coverage(images: pd.DataFrame) -> pd.DataFrame:
    """What was asked of each source and what came (`drawing.draw_all`), attribute by attribute and class by class.

    `source, label, attribute, levels` (asked for), `came` (of these levels, how many have an image), `effective_asked`
    and `effective_came` (the exponential of the Shannon entropy over levels: k when k levels are equally frequent, 1
    when all are one), `kept` (their ratio) and `missing` (levels without an image).
    """
    rows = []
    for (source, label), wanted in images.groupby(["source", "label"], sort=False):
        arrived = wanted[wanted["status"] == "ok"]
        for name in LEVELS:
            if name not in wanted:
                continue
            asked, came = (_levels(table[name]) for table in (wanted, arrived))
            if len(asked) == 0:
                continue
            before, after = effective_levels(asked.to_numpy(float)), effective_levels(came.to_numpy(float))
            absent = [str(level) for level in asked.index if level not in came.index]
            rows.append((source, label, name, len(asked), len(came), before, after, after / before, ", ".join(absent)))
    columns = ["source", "label", "attribute", "levels", "came", "effective_asked", "effective_came", "kept", "missing"]
    return pd.DataFrame(rows, columns=columns)


def effective_levels(counts: NDArray[np.float64]) -> float:
    """Exponential of the Shannon entropy of counts (Hill number of order 1); 0 without any."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


def _levels(values: pd.Series) -> pd.Series:
    text = values.dropna().astype(str)
    return text[text != ""].value_counts(sort=False)


def batch_against_single(images: pd.DataFrame, folder: Path, most: int = 100) -> pd.DataFrame:
    """Images of batch jobs beside those asked for one by one, of each source that has both: users report worse ones.

    `source, mode, images, as_asked` (share of the size and shape asked for), and of the `most` first of each: medians
    of `width`, `height`, `kilobytes` and `sharpness` (variance of the Laplacian at 512 x 512 pixels, in grey levels
    squared). No row where there is one mode alone.
    """
    rows = []
    fit = images[images["status"] == "ok"]
    for source, table in fit.groupby("source", sort=False) if "mode" in fit else ():
        modes = table[table["mode"].isin(["online", "batch"])]
        for mode, made in modes.groupby("mode") if len(set(modes["mode"])) > 1 else ():
            paths = [inside(folder / str(source), path) for path in made["path"].head(most)]
            pictures = [resize_gray(read_gray(path), 512) for path in paths]
            sharp = np.median([cv2.Laplacian(picture, cv2.CV_64F).var() for picture in pictures])
            size = np.median([path.stat().st_size for path in paths]) / 1024
            sides = made["width"].median(), made["height"].median()
            rows.append((source, mode, len(made), made["as_asked"].astype(float).mean(), *sides, size, sharp))
    columns = ["source", "mode", "images", "as_asked", "width", "height", "kilobytes", "sharpness"]
    return pd.DataFrame(rows, columns=columns)


def sample(images: pd.DataFrame, per_class: int, seed: int) -> pd.DataFrame:
    """The images to embed: of each source and class the same number, `per_class` or as many as the smallest has.

    Diversity grows with the number of images, so that only equal numbers compare. Whole pairs are taken where they are
    known. Sources with fewer than `LEAST` images of a class are left out.
    """
    fit = images[images["status"] == "ok"]
    counts = fit.groupby(["source", "label"], sort=False).size()
    counts = counts[counts >= LEAST]
    if counts.empty:
        return fit.iloc[:0]
    size = min(per_class, int(counts.min()))
    parts = []
    for key in counts.index:
        rows = fit[(fit["source"] == key[0]) & (fit["label"] == key[1])]
        pairs = rows["pair_id"] if "pair_id" in rows else rows["image_id"]
        # One random order of pairs for both classes keeps the pairs together.
        order = pd.util.hash_pandas_object(pairs.astype(str) + f"/{seed}", index=False).to_numpy()
        parts.append(rows.iloc[np.sort(np.argsort(order, kind="stable")[:size])])
    return pd.concat(parts, ignore_index=True)


def embed(
    chosen: pd.DataFrame,
    folder: Path,
    backbone: str,
    init: str,
    size: int,
    seed: int = 0,
    device: str = "auto",
    workers: int = 0,
) -> Embedding:
    """Embed the images of `sample` (`folder/<source>/<path>`) with a timm backbone, `size` pixels along a side.

    `backbone` and `init` are as for training: `imagenet` weights tell most; `random` ones need no download, and tell
    coarse differences.
    """
    if chosen.empty:
        return Embedding(np.zeros((0, 1), np.float32), np.zeros((0, LAYOUT_SIDE**2), np.float32), np.zeros(0, np.int64))
    places = zip(chosen["source"].astype(str), chosen["path"].astype(str), strict=True)
    paths = [inside(folder / source, path) for source, path in places]
    pictures = load_images(paths, size, "reading images", workers)
    print(f"embedded by {backbone}: {weights.find(backbone, init)[0]}")
    model = models.build(backbone, init, channels=1, seed=seed, image_size=size)
    embedded = features.embed(model, pictures, Transform(size), device, desc="embedding")
    small = np.stack([resize_gray(one, LAYOUT_SIDE) for one in pictures]).reshape(len(pictures), -1).astype(np.float32)
    return Embedding(embedded, small - small.mean(axis=1, keepdims=True), _twins(chosen["source"], pictures))


def _twins(sources: pd.Series, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    thumbnails = np.stack([resize_gray(picture, duplicates.THUMBNAIL_SIDE) for picture in pictures])
    hashes = np.stack([duplicates.perceptual_hash(thumbnail) for thumbnail in thumbnails])
    twins = np.full(len(pictures), -1, dtype=np.int64)
    for source in sources.unique():
        here = np.nonzero((sources == source).to_numpy())[0]
        found = duplicates.near_duplicates(hashes[here], thumbnails[here], DUPLICATE_BITS)
        twins[here] = np.where(found >= 0, here[np.maximum(found, 0)], -1)
    return twins


def vendi_score(features: NDArray[np.floating]) -> float:
    """Vendi score with the cosine kernel: the effective number of different images, from 1 to n.

    Friedman and Dieng, "The Vendi Score" (TMLR 2023): the exponential of the Shannon entropy of the eigenvalues of
    K/n. n images that are all one give 1, n orthogonal ones n. Computed from the smaller of the two Gram matrices.
    """
    unit = _unit(features)
    if len(unit) == 0:
        return float("nan")
    gram = unit.T @ unit if unit.shape[1] < len(unit) else unit @ unit.T
    values = np.linalg.eigvalsh(gram / len(unit))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def mean_distance(features: NDArray[np.floating]) -> float:
    """Mean cosine distance (1 - cosine, 0 to 2) over all pairs of different images, in O(n d)."""
    unit = _unit(features)
    count = len(unit)
    if count < 2:
        return float("nan")
    total = unit.sum(axis=0)
    return float(1.0 - (total @ total - count) / (count * (count - 1)))


def _unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms > 0, norms, 1.0)


def spread(chosen: pd.DataFrame, embedding: Embedding) -> pd.DataFrame:
    """Diversity of each source and class: the columns below.

    `vendi_centred` is measured after taking off the mean of all images in `chosen`: all radiographs are alike, and what
    they share hides how they differ. It compares within one table, not between runs.
    """
    features = np.asarray(embedding.features, dtype=np.float64)
    centred = features - features.mean(axis=0, keepdims=True) if len(features) else features
    rows = []
    for source in chosen["source"].unique():
        for label in LABELS[::-1]:
            here = ((chosen["source"] == source) & (chosen["label"] == label)).to_numpy()
            if not here.any():
                continue
            copies = int((embedding.twins[here] >= 0).sum())
            told = vendi_score(features[here]), vendi_score(centred[here]), mean_distance(features[here])
            simulated = bool(chosen.loc[here, "simulated"].iloc[0])
            rows.append((source, simulated, label, int(here.sum()), copies, *told))
    columns = ["source", "simulated", "label", "images", "near_duplicates", "vendi", "vendi_centred", "mean_distance"]
    return pd.DataFrame(rows, columns=columns)


def visibility(chosen: pd.DataFrame, embedding: Embedding, folds: int = 5) -> pd.DataFrame:
    """Whether each attribute that was asked for is detectable in the images at all.

    A linear classifier on features and layout, cross-validated with pairs kept together, guesses each attribute's
    level. An attribute that it guesses no better than chance came out less diverse than asked, as far as this backbone
    and this number of images can tell: the source draws its levels alike. Columns are `source, simulated, attribute,
    levels, images, told` (balanced accuracy scaled so that 0 is chance and 1 is always right), `chance_95` (what chance
    reaches in one of twenty cases) and `comes_out`.
    """
    features = np.hstack([embedding.features, embedding.layout])
    rows = []
    for source in chosen["source"].unique():
        for name in ("label", *LEVELS):
            if name not in chosen:
                continue
            text = chosen[name].astype("string").fillna("")
            known = ((chosen["source"] == source) & (text != "")).to_numpy()
            values = text[known].astype(str).to_numpy()
            counts = pd.Series(values).value_counts()
            levels = counts.index[counts >= folds]
            kept = np.isin(values, levels)
            groups = chosen["pair_id"] if "pair_id" in chosen else chosen["image_id"]
            if len(levels) < 2 or groups[known][kept].nunique() < folds:
                continue
            told, limit = _probe(features[known][kept], values[kept], groups[known].to_numpy()[kept], folds)
            simulated = bool(chosen.loc[known, "simulated"].iloc[0])
            rows.append((source, simulated, name, len(levels), int(kept.sum()), told, limit, told > limit))
    columns = ["source", "simulated", "attribute", "levels", "images", "told", "chance_95", "comes_out"]
    return pd.DataFrame(rows, columns=columns)


def _probe(
    features: NDArray[np.floating], values: NDArray[np.object_], groups: NDArray[np.object_], folds: int
) -> tuple[float, float]:
    """Scaled balanced accuracy of a cross-validated linear probe, and the level that chance stays under in 95 %."""
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 5, 6), class_weight="balanced"))
    parts = min(folds, len(np.unique(groups)))
    guessed = cross_val_predict(probe, features, values, groups=groups, cv=GroupKFold(parts))
    count = len(np.unique(values))
    scale = 1.0 / (1.0 - 1.0 / count)
    told = (balanced_accuracy_score(values, guessed) - 1.0 / count) * scale
    # A guess without knowledge hits each level with chance 1/count: the variance of the mean over levels' recalls. The
    # two images of a pair are one piece of evidence, since they share their anatomy.
    sizes = pd.Series(groups).groupby(values).nunique().to_numpy(dtype=float)
    deviation = np.sqrt((1 / count) * (1 - 1 / count) * (1 / sizes).sum()) / count
    return float(told), float(1.645 * deviation * scale)


def less_diverse_than_asked(covered: pd.DataFrame, visible: pd.DataFrame, tolerance: float = 0.95) -> pd.DataFrame:
    """The attributes that came out less diverse than asked: `source, attributes, why`.

    Either images of some levels did not come (`kept` of `coverage` under `tolerance`), or the levels cannot be told
    from the images (`visibility`).
    """
    rows = []
    for line in covered[covered["kept"] < tolerance].to_dict("records"):
        lost = f"; none with {line['missing']}" if line["missing"] else ""
        why = f"{line['label']}: {line['kept']:.0%} of the requested diversity obtained{lost}"
        rows.append((line["source"], line["attribute"], why))
    for source, lines in visible[~visible["comes_out"].astype(bool)].groupby("source", sort=False):
        rows.append(
            (source, ", ".join(lines["attribute"]), "levels cannot be detected in the images with this backbone")
        )
    return pd.DataFrame(rows, columns=["source", "attributes", "why"])
