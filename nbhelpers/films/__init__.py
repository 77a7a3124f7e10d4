"""films: TODO."""
