"""A stage of a run: its parameters, its folder, its tables, and what it says of itself. May import `errors` alone.

`stage` opens and closes a stage (`open_stage`, `Stage`, handed on here); `parameters` what notebooks declare and a file
may set; `tables` the CSV tables that stages share and those that users bring, whose `cells` it reads; `files` atomic
writing, hashes, paths that stay in their folder; `reviews` what reviewers decided on drawn images; `front_end` whether
somebody is at the screen; `progress` bars that a log and a notebook can show; `devices` what a machine computes on;
`home` where caches go when the home cannot be written.
"""

from nbhelpers.runs.stage import Stage, open_stage

__all__ = ["Stage", "open_stage"]
