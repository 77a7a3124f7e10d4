# One rule a notebook, training once per arm. `make run` calls this; on a cluster, call it through the same command:
#   python -m nbhelpers run params/mine.yaml --profile profiles/slurm
# Executed notebooks are logs, not outputs: Snakemake keeps a log when its job fails. Parameters are functions,
# since in plain text a user's `{x}` would be taken for a wildcard.
from urllib.parse import unquote

from nbhelpers.pipeline.plan import Plan

plan = Plan(unquote(config.get("parameters", "params/demo.yaml")))
CORES = max(1, min(workflow.cores, 8))  # on a cluster: what its profile lets a job ask for
# Where no accelerator makes them wait for each other, notebooks that can run side by side share the cores.
SHARE = max(1, CORES // 2) if config.get("side_by_side") and plan.ends() > 1 else CORES


workdir: str(plan.folder)


wildcard_constraints:
    arm="[^/]+",
    source="[^/]+",
    seed="(/seed_[0-9]+)?",


localrules:
    all,
    images,
    scores,
    arms,
    report,


rule all:
    input:
        "index.html",


# The images of every arm; what trains on them is decided by their content, once they are there.
rule images:
    input:
        plan.each_arm("02_cropping/arms/{arm}.csv"),


rule scores:
    input:
        plan.scores(),


rule prompting:
    input:
        plan.code("01_prompting"),
    output:
        plan.each_source("01_prompting/{source}/images.csv"),
        "01_prompting/run.json",
    log:
        plan.notebooks("01_prompting"),
    params:
        lambda wildcards: plan.trigger("01_prompting"),
    threads: CORES
    shell:
        plan.command("01_prompting")


rule cropping:
    input:
        plan.code("02_cropping"),
        plan.each_source("01_prompting/{source}/images.csv"),
    output:
        plan.each_source("02_cropping/{source}/images.csv"),
        "02_cropping/run.json",
    log:
        plan.notebooks("02_cropping"),
    params:
        lambda wildcards: plan.trigger("02_cropping"),
    threads: CORES
    shell:
        plan.command("02_cropping")


# An arm's own rows, so that a new arm, or another's crop, retrains none but itself.
rule arms:
    input:
        plan.each_source("02_cropping/{source}/images.csv"),
    output:
        plan.each_arm("02_cropping/arms/{arm}.csv"),
    params:
        lambda wildcards: plan.arms_trigger(),
    shell:
        plan.command("arms")


# Beside an arm's own network its further seeds, `{seed}` being empty or `/seed_<n>`.
rule training:
    input:
        plan.code("03_training"),
        "02_cropping/arms/{arm}.csv",
    output:
        "03_training/{arm}{seed}/checkpoint.safetensors",
        "03_training/{arm}{seed}/model.json",
        "03_training/{arm}{seed}/history.csv",
        "03_training/{arm}{seed}/run.json",
    log:
        plan.notebooks("03_training", "{arm}{seed}"),
    params:
        lambda wildcards: plan.trigger("03_training", wildcards.arm + wildcards.seed),
    threads: lambda wildcards: plan.threads(wildcards.arm, CORES)
    resources:
        accelerator=1,
    shell:
        plan.command("03_training", "{wildcards.arm}{wildcards.seed}")


rule external_validation:
    input:
        plan.code("04_external_validation"),
        plan.networks(seeds=True),
    output:
        "04_external_validation/predictions.csv",
        "04_external_validation/metrics.csv",
        "04_external_validation/run.json",
    log:
        plan.notebooks("04_external_validation"),
    params:
        lambda wildcards: plan.trigger("04_external_validation"),
    threads: CORES
    resources:
        accelerator=1,
    shell:
        plan.command("04_external_validation")


rule interpretability:
    input:
        plan.code("05_interpretability"),
        plan.networks(),
        "04_external_validation/predictions.csv",
    output:
        "05_interpretability/clusters.csv",
        "05_interpretability/run.json",
    log:
        plan.notebooks("05_interpretability"),
    params:
        lambda wildcards: plan.trigger("05_interpretability"),
    threads: SHARE
    resources:
        accelerator=1,
    shell:
        plan.command("05_interpretability")


rule image_editing:
    input:
        plan.code("06_image_editing"),
    output:
        "06_image_editing/edits.csv",
        "06_image_editing/run.json",
    log:
        plan.notebooks("06_image_editing"),
    params:
        lambda wildcards: plan.trigger("06_image_editing"),
    threads: SHARE
    resources:
        accelerator=1,
    shell:
        plan.command("06_image_editing")


rule segmentation:
    input:
        plan.code("07_segmentation"),
    output:
        "07_segmentation/scores.csv",
        "07_segmentation/comparison.csv",
        "07_segmentation/run.json",
    log:
        plan.notebooks("07_segmentation"),
    params:
        lambda wildcards: plan.trigger("07_segmentation"),
    threads: SHARE
    priority: 1  # the longest first
    resources:
        accelerator=1,
    shell:
        plan.command("07_segmentation")


rule report:
    input:
        plan.code("report"),
        plan.records(),
    output:
        "index.html",
    params:
        lambda wildcards: plan.trigger("report"),
    shell:
        plan.command("report")
