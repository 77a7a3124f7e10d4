"""A stage of a run."""

from nbhelpers.runs.stage import Stage, open_stage

__all__ = ["Stage", "open_stage"]
