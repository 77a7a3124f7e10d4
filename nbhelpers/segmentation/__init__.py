"""Notebook 07: an omnimodel's masks against specialists. May import floors 0 to 5; no other stage.

- `datasets`: the sets by name, rules for masks, splits by group; `layouts`: the published ones; `simulated`: films.
- `specialists`: trained here, loaded, or brought as masks; `omnimodel`: the stand-in, Gemini by picture and by boxes.
- `drawing`: all models of a run; `answers`: their grey maps, kinds of answers, geometry, the format's ceiling.
- `evaluation`: `scores.csv`, floors, covariates, all cases, thresholds; `selection`: `comparison.csv`, the swap test.
- `published`: the study's values; `tables`: what is read; `figures`: what is drawn; `widgets`: what is turned.
"""
