"""image_models: TODO."""
