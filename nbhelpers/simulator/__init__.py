"""simulator: TODO."""
