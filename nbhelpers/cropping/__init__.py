"""cropping: TODO."""
