"""The pipeline of an experiment as a picture: Snakemake's own graph of its rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import networkx as nx
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from nbhelpers.pipeline.jobs import SNAKEFILE
from nbhelpers.runs import parameters
from nbhelpers.runs.stage import outputs_root, write_figure
from nbhelpers.style import PAGE_WIDTH

NAME = "pipeline"  # of the figure
_NODE = re.compile(r'^\s*(\d+)\s*\[label\s*=\s*"([^"]*)"', re.MULTILINE)
_EDGE = re.compile(r"^\s*(\d+)\s*->\s*(\d+)", re.MULTILINE)
_BOX, _GAP = 0.36, 0.26  # inches: how high a rule stands, and what lies between two


def draw(parameter_file: Path | str) -> bool:
    """Ask Snakemake for the rules of an experiment and save them as `figures/pipeline`; False where it gives none."""
    folder = outputs_root().absolute() / parameters.load(parameter_file)["run"]
    words = ["all", "--snakefile", str(SNAKEFILE), "--rulegraph", "--quiet", "all", "--cores", "1"]
    words += ["--nolock", "--config", f"parameters={quote(str(Path(parameter_file).absolute()))}"]
    told = subprocess.run([sys.executable, "-m", "snakemake", *words], capture_output=True, text=True)
    graph = read(told.stdout)
    if told.returncode or not graph:
        return False
    figure = figure_rules(graph)
    write_figure(figure, folder, NAME)
    plt.close(figure)
    return True


def read(dot: str) -> nx.DiGraph:
    """Rules by name and what each waits for, from the text of `snakemake --rulegraph`; `all` itself is left out.

    What follows from other edges is left out too: a rule that waits for a second one waits for the second's inputs.
    """
    names = {number: label for number, label in _NODE.findall(dot) if label != "all"}
    graph = nx.DiGraph()
    graph.add_nodes_from(names.values())
    graph.add_edges_from((names[a], names[b]) for a, b in _EDGE.findall(dot) if a in names and b in names and a != b)
    return nx.transitive_reduction(graph)


def figure_rules(graph: nx.DiGraph) -> Figure:
    """The rules from top to bottom, each below all that it waits for, as near as can be to what waits for it."""
    layers = list(nx.topological_generations(graph.reverse()))[::-1]
    height = len(layers) * (_BOX + _GAP)
    places = {
        rule: (PAGE_WIDTH * (column + 1) / (len(layer) + 1), height - (row + 0.5) * (_BOX + _GAP))
        for row, layer in enumerate(layers)
        for column, rule in enumerate(sorted(layer))
    }
    figure = plt.figure(figsize=(PAGE_WIDTH, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, PAGE_WIDTH), ylim=(0, height))
    axes.axis("off")
    for a, b in graph.edges:
        (x0, y0), (x1, y1) = places[a], places[b]
        arrow = {"arrowstyle": "-|>", "color": "#444444", "shrinkA": 0, "shrinkB": 0, "linewidth": 0.9}
        axes.annotate("", (x1, y1 + _BOX / 2), (x0, y0 - _BOX / 2), arrowprops=arrow)
    for rule, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.5", "facecolor": "#eef3f7", "edgecolor": "#15324a", "linewidth": 1.0}
        axes.text(x, y, rule.replace("_", " "), ha="center", va="center", fontsize=9, bbox=box)
    return figure
