"""prompting: TODO."""
