"""What runs when. May import everything but `reporting`, which it starts as a command.

`command` brings one experiment up to date through Snakemake, which `jobs` starts and stops; `plan` is what the
Snakefile asks (files, commands, what a result depends on); `sweep` writes out a file of lists; `checks` is what can be
known before anything runs; `notebooks` runs one notebook by papermill and keeps its copy and HTML; `engine` is what
papermill itself loads; `rule_graph` the picture of the pipeline.
"""
