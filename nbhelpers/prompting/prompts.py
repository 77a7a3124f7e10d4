"""What is asked of an image model: a design that is balanced over attributes and matched between classes, in words."""

from __future__ import annotations

import hashlib
import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from nbhelpers.errors import UserError
from nbhelpers.runs.parameters import read_yaml, suggest
from nbhelpers.runs.stage import user_path
from nbhelpers.simulator.film import CHOICES, DISEASE

PACKAGED_TEMPLATES = Path(__file__).with_name("prompt_templates.yaml")

# What the simulator can draw is what is asked of every source.
LEVELS: dict[str, tuple[str, ...]] = {
    **{name: CHOICES[name] for name in ("sex", "age_group", "view", "position", "habitus")},
    "devices": ("none", "ecg_leads", "endotracheal_tube", "nasogastric_tube", "central_line", "pacemaker"),
    **{name: CHOICES[name] for name in ("exposure", *DISEASE)},
}
# Whatever is listed here must not tell a pneumonia from a normal.
NUISANCE = ("sex", "age_group", "age", "view", "position", "habitus", "devices", "exposure", "template")
AGES = {"child": (1, 16), "adult": (18, 65), "older": (65, 91)}  # years, upper end exclusive

# Half PA, half AP; a PA film is taken standing.
_VIEWS = (("PA", "erect"), ("AP", "erect"), ("PA", "erect"), ("AP", "supine"))
# What a patient who is filmed so may wear: an intubated one lies down, a pacemaker comes with age.
_DEVICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("PA", "erect"): ("none", "none", "ecg_leads"),
    ("AP", "erect"): ("none", "ecg_leads", "central_line", "nasogastric_tube", "central_line;ecg_leads"),
    ("AP", "supine"): (
        "none",
        "ecg_leads",
        "endotracheal_tube",
        "ecg_leads;endotracheal_tube;nasogastric_tube",
        "central_line;ecg_leads;endotracheal_tube",
    ),
}
_ADULT_DEVICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("PA", "erect"): ("pacemaker",),
    ("AP", "erect"): ("ecg_leads;pacemaker",),
    ("AP", "supine"): ("pacemaker",),
}
# Side and lobe follow the pattern: the left lung has no middle lobe, an interstitial pneumonia is bilateral.
_PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "lobar": (
        ("right", "upper"),
        ("left", "upper"),
        ("right", "middle"),
        ("left", "lower"),
        ("right", "lower"),
        ("left", "lower"),
    ),
    "bronchopneumonia": (
        ("both", "diffuse"),
        ("right", "lower"),
        ("left", "lower"),
        ("both", "lower"),
        ("right", "diffuse"),
        ("left", "diffuse"),
    ),
    "interstitial": (("both", "diffuse"), ("both", "lower")),
}

LOCATIONS = tuple(sorted({f"{side} {lobe}" for places in _PLACES.values() for side, lobe in places}))

_SCENE_FIELDS = {"age", "sex", "view", "position", "habitus", "devices", "exposure", "finding"}
_FINDING_FIELDS: dict[str, set[str]] = {"normal": set(), "pneumonia": {"pattern", "location", "extent"}}
_PHRASE_LEVELS: dict[str, tuple[str, ...]] = {
    **{name: LEVELS[name] for name in ("sex", "view", "position", "habitus", "exposure", "pattern", "extent")},
    "devices": (*LEVELS["devices"], "visible"),
    "location": LOCATIONS,
}


@dataclass(frozen=True)
class Templates:
    """Wording, checked: scenes shared by both labels, findings of each label, and a phrase for each level."""

    scenes: dict[str, str]
    findings: dict[str, dict[str, str]]
    phrases: dict[str, dict[str, str]]
    where: str


def load_templates(path: str | Path | None = None) -> Templates:
    """Wording from a YAML file; None takes the packaged `prompt_templates.yaml`, which explains the format.

    A `UserError` when the file is missing or no YAML, or when a section, level or placeholder is missing or unknown: an
    attribute that a wording leaves out would stand in the table without having been asked for.
    """
    path = user_path(str(path)) if path else PACKAGED_TEMPLATES
    if not path.is_file():
        raise UserError("file of prompt templates not found", str(path), f"start from a copy of {PACKAGED_TEMPLATES}")
    values = read_yaml(path)
    where = str(path)
    _exact_keys(values, {"scenes", "findings", "phrases"}, "section", where)
    _exact_keys(values["findings"], set(_FINDING_FIELDS), "label in findings", where)
    _exact_keys(values["phrases"], set(_PHRASE_LEVELS), "attribute in phrases", where)
    scenes = _wordings(values["scenes"], _SCENE_FIELDS, "scenes", where)
    findings = {
        label: _wordings(values["findings"][label], fields, f"findings.{label}", where)
        for label, fields in _FINDING_FIELDS.items()
    }
    phrases: dict[str, dict[str, str]] = {}
    for attribute, levels in _PHRASE_LEVELS.items():
        _exact_keys(values["phrases"][attribute], set(levels), f"level in phrases.{attribute}", where)
        phrases[attribute] = {level: str(text) for level, text in values["phrases"][attribute].items()}
    _check_fields(phrases["devices"]["visible"], {"list"}, "phrases.devices.visible", where)
    return Templates(scenes, findings, phrases, where)


def design(images_per_class: int, seed: int, templates: Templates) -> pd.DataFrame:
    """The wanted images, one row each: `images_per_class` pairs of a pneumonia and a normal.

    The two rows of a pair share every attribute that is not the disease, so the classes are matched exactly, whatever
    the number. Each attribute is dealt from shuffled decks (permuted blocks), so its levels differ by one at most over
    any number of pairs, as far as anatomy and practice let it (see `balance_table`). The first rows of a larger design
    are the smaller one of the same seed, and an identifier holds a digest of its row: a raised number draws only what
    is new, and a changed wording or attribute never meets the image of an older one. The same seed (0 or more) gives
    the same table: the columns below, `age` in years, `devices` joined by `;` or `none`, `pattern` to `extent` empty
    for normal; a pair's rows follow each other.
    """
    if images_per_class < 1:
        raise UserError(f"images_per_class = {images_per_class}", "parameters", "request 1 image per class or more")
    if seed < 0:
        raise UserError(f"seed = {seed}", "parameters", "use 0 or a positive number")
    pairs = _pairs(images_per_class, seed, tuple(sorted(templates.scenes)))
    disease = _disease(images_per_class, seed)
    base = np.random.default_rng([seed, 99]).integers(2**31, size=2)
    number = np.arange(images_per_class)
    # An odd step makes a bijection on 31 bits: no seed comes twice.
    step = 0x9E3779B1
    frames = []
    for offset, label in enumerate(("pneumonia", "normal")):
        frame = pairs.assign(label=label, seed=(base[0] + (2 * number + offset) * step) % 2**31)
        frame["pair_seed"] = (base[1] + number * step) % 2**31
        for name in DISEASE:
            frame[name] = disease[name] if label == "pneumonia" else ""
        frame["finding_template"] = _deal(tuple(sorted(templates.findings[label])), images_per_class, seed, 20 + offset)
        frame["order"] = 2 * number + offset
        frames.append(frame)
    table = pd.concat(frames).sort_values("order", ignore_index=True)
    table["prompt"] = [write_prompt(row, templates) for row in table.to_dict("records")]
    table["image_id"] = _identifiers(table)
    columns = [
        *("image_id", "pair_id", "label", "sex", "age_group", "age", "view", "position", "habitus", "devices"),
        *("exposure", *DISEASE, "template", "finding_template", "seed", "pair_seed", "prompt"),
    ]
    return table[columns]


def write_prompt(row: Mapping[Any, Any], templates: Templates) -> str:
    """The prompt of one row of the design, as one line of text."""
    say = templates.phrases
    details = {}
    if row["label"] == "pneumonia":
        details = {
            "pattern": say["pattern"][row["pattern"]],
            "location": say["location"][f"{row['side']} {row['lobe']}"],
            "extent": say["extent"][row["extent"]],
        }
    finding = templates.findings[row["label"]][row["finding_template"]].format(**details)
    worn = [say["devices"][name] for name in row["devices"].split(";")]
    listed = worn[0] if len(worn) == 1 else ", ".join(worn[:-1]) + " and " + worn[-1]
    devices = listed if row["devices"] == "none" else say["devices"]["visible"].format(list=listed)
    simple = {name: say[name][row[name]] for name in ("sex", "view", "position", "habitus", "exposure")}
    text = templates.scenes[row["template"]].format(age=row["age"], devices=devices, finding=finding, **simple)
    return " ".join(text.split())


def balance_table(design: pd.DataFrame) -> pd.DataFrame:
    """How often each level was drawn: one row a level, `attribute, level, pneumonia, normal, share` (of its class).

    Devices are counted one by one, so their shares add up to more than 1. What practice rules out bends the balance:
    a tube goes with AP films, a pacemaker with adults, side and lobe with the pattern.
    """
    rows = []
    for name, levels in {**LEVELS, "template": tuple(sorted(design["template"].unique()))}.items():
        known = design[design[name] != ""] if name in DISEASE else design
        for level in levels:
            chosen = known[known[name].str.split(";").map(lambda worn, level=level: level in worn)]
            counts = chosen["label"].value_counts()
            total = max(int((known["label"] == "pneumonia").sum()), 1)
            pneumonia, normal = int(counts.get("pneumonia", 0)), int(counts.get("normal", 0))
            rows.append((name, level, pneumonia, normal, round(max(pneumonia, normal) / total, 3)))
    return pd.DataFrame(rows, columns=["attribute", "level", "pneumonia", "normal", "share"])


def matching_table(design: pd.DataFrame) -> pd.DataFrame:
    """How well each attribute that is not the disease tells the label, and all of them together: a row an attribute.

    `largest_difference` (images, over its levels, between the classes), `effect` (Cramer's V; for age the standardised
    mean difference), `auroc` (of the best score that the attribute allows on this very table: the share of pneumonia at
    its level; 0.5 tells nothing) and `matched`.
    """
    label = (design["label"] == "pneumonia").to_numpy()
    rows = []
    # A table of the user's own may not know everything of every image: unknown is a level like another.
    attributes: dict[str, pd.Series] = {
        name: design[name].fillna(-1 if name == "age" else "unknown") for name in NUISANCE if name in design
    }
    if len(attributes) > 1:
        attributes["all together"] = pd.DataFrame(attributes).astype(str).agg("|".join, axis=1)
    for name, values in attributes.items():
        counts = pd.crosstab(values, label).reindex(columns=[False, True], fill_value=0).to_numpy(dtype=float)
        share = (
            label.astype(float) if len(values) == 0 else pd.Series(label).groupby(values.to_numpy()).transform("mean")
        )
        auroc = float(roc_auc_score(label, share)) if label.any() and not label.all() else float("nan")
        # Age is the one number among them.
        effect = _standardised_difference(values.to_numpy(float), label) if name == "age" else _cramers_v(counts)
        difference = int(np.abs(counts[:, 0] - counts[:, 1]).max())
        rows.append((name, difference, effect, auroc, difference == 0 and abs(auroc - 0.5) < 1e-9))
    return pd.DataFrame(rows, columns=["attribute", "largest_difference", "effect", "auroc", "matched"])


def check_matched(design: pd.DataFrame) -> str:
    """`matched between classes: ok` and over what; raises `UserError` when an attribute predicts the label."""
    table = matching_table(design)
    failed = table.loc[~table["matched"], "attribute"].tolist()
    if failed:
        raise UserError(
            f"the classes differ in {', '.join(failed)}",
            "prompt design",
            "give each pneumonia image a normal image with the same attributes",
        )
    counts = design["label"].value_counts()
    told = f"{counts['pneumonia']} + {counts['normal']} images, {len(NUISANCE)} attributes"
    return f"matched between classes: ok ({told})"


def example_text(design: pd.DataFrame, pairs: int = 3, width: int = 100) -> str:
    """Prompts of `pairs` pairs in different wordings, as text to print: identifier, wording, prompt."""
    chosen = design.drop_duplicates("template")["pair_id"].head(pairs)
    shown = design[design["pair_id"].isin(chosen)]
    blocks = [
        f"{row['image_id']}  {row['label']}, wording {row['template']} / {row['finding_template']}\n"
        + textwrap.fill(row["prompt"], width, initial_indent="    ", subsequent_indent="    ")
        for row in shown.to_dict("records")
    ]
    return "\n".join(blocks)


def _pairs(count: int, seed: int, scenes: tuple[str, ...]) -> pd.DataFrame:
    """The attributes that both images of a pair share."""
    views = _deal(tuple(range(len(_VIEWS))), count, seed, 3)
    table = pd.DataFrame({"pair_id": [f"{number:05d}" for number in range(count)]})
    table["sex"] = _deal(LEVELS["sex"], count, seed, 1)
    table["age_group"] = _deal(LEVELS["age_group"], count, seed, 2)
    table["view"] = [_VIEWS[index][0] for index in views]
    table["position"] = [_VIEWS[index][1] for index in views]
    table["habitus"] = _deal(LEVELS["habitus"], count, seed, 4)
    table["exposure"] = _deal(LEVELS["exposure"], count, seed, 5)
    table["template"] = _deal(scenes, count, seed, 6)
    table["age"] = 0
    table["devices"] = ""
    uniform = np.random.default_rng([seed, 7]).random(count)
    for group, (low, high) in AGES.items():
        rows = (table["age_group"] == group).to_numpy()
        table.loc[rows, "age"] = (low + uniform[rows] * (high - low)).astype(int)
    for index, view in enumerate(_DEVICES):
        for adult in (False, True):
            chosen = (table["view"] == view[0]) & (table["position"] == view[1])
            chosen &= (table["age_group"] != "child") == adult
            deck = _DEVICES[view] + (_ADULT_DEVICES[view] if adult else ())
            table.loc[chosen, "devices"] = _deal(deck, int(chosen.sum()), seed, 30 + 2 * index + adult)
    return table


def _disease(count: int, seed: int) -> dict[str, NDArray[Any]]:
    pattern = _deal(LEVELS["pattern"], count, seed, 10)
    side, lobe = np.empty(count, dtype=object), np.empty(count, dtype=object)
    for index, (name, places) in enumerate(_PLACES.items()):
        rows = np.flatnonzero(pattern == name)
        dealt = _deal(tuple(range(len(places))), len(rows), seed, 11 + index)
        side[rows] = [places[place][0] for place in dealt]
        lobe[rows] = [places[place][1] for place in dealt]
    return {"pattern": pattern, "side": side, "lobe": lobe, "extent": _deal(LEVELS["extent"], count, seed, 15)}


def _deal(levels: tuple[Any, ...], count: int, seed: int, stream: int) -> NDArray[Any]:
    """`count` levels from shuffled decks laid one after another; `stream` keeps attributes independent."""
    decks = -(-count // len(levels))
    order = np.tile(np.arange(len(levels)), (max(decks, 1), 1))
    shuffled = np.random.default_rng([seed, stream]).permuted(order, axis=1).ravel()[:count]
    return np.array(levels, dtype=object)[shuffled]


def _identifiers(table: pd.DataFrame) -> list[str]:
    identifiers = []
    for row in table.to_dict("records"):
        content = "\n".join(f"{name}={row[name]}" for name in sorted(row, key=str) if name != "order")
        digest = hashlib.sha256(content.encode()).hexdigest()[:6]
        identifiers.append(f"{row['label'][0]}{row['pair_id']}-{digest}")
    return identifiers


def _cramers_v(counts: NDArray[np.float64]) -> float:
    """Cramer's V of a table of counts (levels x 2 classes): sqrt(chi2 / n), as the smaller side is 2."""
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / total
    if (expected == 0).any():
        return float("nan")
    return float(np.sqrt(((counts - expected) ** 2 / expected).sum() / total))


def _standardised_difference(values: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    """Difference of the two means over the pooled standard deviation; 0 where nothing varies."""
    first, second = values[label], values[~label]
    spread = np.sqrt((first.var() + second.var()) / 2)
    return float((first.mean() - second.mean()) / spread) if spread > 0 else 0.0


def _exact_keys(value: Any, known: set[str], kind: str, where: str) -> None:
    if not isinstance(value, dict):
        raise UserError(
            f"expected names and texts, found {type(value).__name__}", f"{where}: {kind}", "see the packaged"
        )
    for name in value:
        if name not in known:
            raise UserError(f"unknown {kind}: {name!r}", where, suggest(name, known))
    missing = sorted(known - set(value))
    if missing:
        raise UserError(f"missing {kind}: {', '.join(missing)}", where, f"copy it from {PACKAGED_TEMPLATES.name}")


def _wordings(value: Any, fields: set[str], section: str, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not value or not all(isinstance(text, str) and text for text in value.values()):
        raise UserError(f"{section} needs one or more `name: text`", where, "see the packaged prompt_templates.yaml")
    for name, text in value.items():
        _check_fields(text, fields, f"{section}.{name}", where)
    return {str(name): text for name, text in value.items()}


def _check_fields(text: str, fields: set[str], name: str, where: str) -> None:
    try:
        found = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise UserError(f"{name}: {error}", where, "write {{ and }} for braces that are text") from None
    for field in sorted(found - fields):
        raise UserError(f"{name}: unknown placeholder {{{field}}}", where, suggest(field, fields))
    missing = sorted(fields - found)
    if missing:
        listed = " ".join(f"{{{field}}}" for field in missing)
        raise UserError(
            f"{name} leaves out {listed}", where, "a wording must use every attribute of its row of the design"
        )
