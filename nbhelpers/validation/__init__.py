"""validation: TODO."""
