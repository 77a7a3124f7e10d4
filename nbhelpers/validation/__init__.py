"""Notebook 04: do the networks work on films that they were not made from, and beside what?

May import `films` and what lies below.

- `scores`: films decoded, and every network's score of every film.
- `evaluation`: the rows of `metrics.csv`, which the notebook writes, and each arm against trivial baselines.
- `baselines`: what non-clinical image statistics reach.
- `subgroups`: by view, sex and age, and adjusted for the view.
- `operating_point`: a threshold from synthetic images, frozen and carried over.
- `calibration`: do probabilities mean what they say.
- `robustness`: the same films under mild changes.
- `arm_differences`: arms against each other.
- `seed_spread`: how far training seeds lie apart.
- `dose`: AUROC against the number of images, by method and source.
- `published`: the paper's values as marks.
- `rows`: one row of `metrics.csv`; `tables`: what a reader sees; `figures`: figure 2 and its companions.
- `widgets`: at the screen, any threshold beside the frozen one.
"""
