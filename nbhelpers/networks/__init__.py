"""networks: TODO."""
