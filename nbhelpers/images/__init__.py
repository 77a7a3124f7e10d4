"""images: TODO."""
