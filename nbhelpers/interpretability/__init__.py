"""Notebook 05: what do the networks see, and where do they look? May import `films` and what lies below.

- `sampling`: the films that are looked at, and what is true of them.
- `features`: penultimate features of every network, embedded and clustered.
- `clustering`: UMAP and K-means against the labels.
- `grad_cam`: maps of any backbone, on one scale.
- `chosen_films`: the films of figure 4, by rule.
- `localisation`: do maps meet lesion and lungs, beside control maps.
- `tables`: what a reader sees; `figures`: figures 3 and 4, and the scores of maps.
- `widgets`: at the screen, films by what an arm made of them, with every arm's map.
"""
