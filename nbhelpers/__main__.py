"""The one command: `python -m nbhelpers run | fetch | checkpoint | handout | release`, each with `--help`.

Exit codes: 0; 1 when a notebook stopped; 2 for bad input, each fault a line of what, where and what to do; 128 and the
signal's number when it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

INTERNAL = (
    "check",
    "arms",
    "notebook",
    "report",
    "snakemake",
    "options",
    "graph",
)  # what the pipeline calls; not for typing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nbhelpers", description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run | fetch | checkpoint | handout | release")

    run = verbs.add_parser("run", help="bring the whole run of one parameter file up to date, and name its report")
    run.add_argument("parameters", help="the experiment, e.g. params/demo.yaml")
    run.add_argument("options", nargs=argparse.REMAINDER, help="Snakemake's own, e.g. --dry-run")

    fetch = verbs.add_parser("fetch", help="download a public data set from Kaggle to the data folder")
    fetch.add_argument("name", help="rsna or kermany")
    fetch.add_argument("--to", type=Path, help="data root; data/ or NBHELPERS_DATA when not given")

    own = verbs.add_parser("checkpoint", help="convert your own weights file to a checkpoint for evaluation")
    own.add_argument("weights", type=Path)
    own.add_argument("--backbone", required=True, help="timm's name of the network")
    own.add_argument("--to", type=Path, required=True, help="folder to write")
    own.add_argument("--size", type=int, default=224, help="pixels along a side that it was trained on")
    own.add_argument("--channels", type=int, default=3, choices=(1, 3))
    own.add_argument("--standardise", default="imagenet", choices=("image", "imagenet"))
    own.add_argument(
        *("--output", "--pneumonia"),
        dest="pneumonia",
        type=int,
        help="which output is pneumonia, from 0: of two classes it is 1 if not given; of more, findings with a sigmoid "
        "each, it must be given",
    )
    own.add_argument(
        "--init", default="random", choices=("random", "imagenet"), help="the untrained network beside it in 05"
    )
    own.add_argument(
        "--validation", type=Path, help="CSV of label,score of your own validation set: chooses the threshold"
    )

    handout = verbs.add_parser("handout", help="rewrite a run's model card, checklists, data flow and report")
    handout.add_argument("folder", type=Path, help="outputs/<run>")

    release = verbs.add_parser("release", help="pack a finished run for a paper's supplement, and verify the archive")
    release.add_argument("parameters", help="the experiment, e.g. params/demo.yaml")

    for name in INTERNAL:
        verb = verbs.add_parser(name)
        if name == "notebook":
            verb.add_argument("stage", choices=parameters.STAGES)
        if name in ("check", "snakemake"):
            verb.add_argument("--elsewhere", action="store_true")
        if name in ("snakemake", "options"):
            verb.add_argument("options", nargs=argparse.REMAINDER)
            continue
        verb.add_argument("parameters")
        if name == "notebook":
            verb.add_argument("--arm")
    return parser


def _do(chosen: argparse.Namespace) -> int:
    match chosen.verb:
        case "run":
            from nbhelpers.pipeline import command

            return command.run(chosen.parameters, chosen.options)
        case "fetch":
            from nbhelpers.films.fetch import fetch

            print(f"ready: {fetch(chosen.name, chosen.to)}")
        case "checkpoint":
            from nbhelpers.networks.own_checkpoint import convert

            given = {name: value for name, value in vars(chosen).items() if name != "verb"}
            folder = given.pop("to")
            convert(given.pop("weights"), folder, **given)
            print(f"ready: checkpoints: {{{folder.name}: {folder}}}")
        case "handout":
            from nbhelpers.reporting import handout, report

            print(*handout.write(chosen.folder), report.write(chosen.folder), sep="\n")
        case "release":
            from nbhelpers.pipeline import sweep
            from nbhelpers.reporting import release
            from nbhelpers.runs.stage import outputs_root

            path = release.write(outputs_root().absolute() / sweep.load(chosen.parameters)["run"])
            print(f"release: {path} ({release.verify(path)} files, each as its SHA-256 says)")
        case "check":
            from nbhelpers.pipeline.checks import check_inputs

            check_inputs(chosen.parameters, here=not chosen.elsewhere)
        case "arms":
            from nbhelpers.pipeline.command import write_arm_tables

            write_arm_tables(chosen.parameters)
        case "notebook":
            from nbhelpers.pipeline import notebooks

            notebooks.watch_owner()
            notebooks.execute(chosen.stage, chosen.parameters, chosen.arm)
        case "snakemake":
            from nbhelpers.pipeline import jobs, notebooks

            notebooks.watch_owner(chosen.elsewhere)
            return jobs.call_snakemake(chosen.options, chosen.elsewhere)
        case "options":
            from nbhelpers.pipeline.jobs import Asked

            print(json.dumps(asdict(Asked.by(chosen.options))))
        case "graph":
            from nbhelpers.pipeline import rule_graph

            rule_graph.draw(chosen.parameters)
        case "report":
            from nbhelpers.reporting import handout, report
            from nbhelpers.runs.stage import outputs_root

            folder = outputs_root() / parameters.load(chosen.parameters)["run"]
            handout.write(folder)
            report.write(folder)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    try:
        return _do(_parser().parse_args(arguments))
    except UserError as error:
        print(*(f"error: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr, flush=True)
        return 130


if __name__ == "__main__":
    sys.exit(main())
