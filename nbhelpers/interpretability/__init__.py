"""interpretability: TODO."""
