"""Figure 4: where each arm looks, on one colour scale; and how well that meets what is known to be there."""

from __future__ import annotations
