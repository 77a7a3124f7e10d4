"""Training seeds drawn beside the sampling interval of the first one."""

from __future__ import annotations
