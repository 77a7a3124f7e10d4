"""Notebook 07: an omnimodel's masks against specialists, and what choosing the hardest cases does to the comparison.

datasets     images and masks: the registry, mask rules, splits by group
layouts      the published data sets as users have them, a folder or table
simulated    simulated films to segment
specialists  trained here, loaded, or brought as masks
drawing      all models of a run on all its sets
omnimodel    the stand-in, Gemini by picture and by boxes, masks from elsewhere
answers      grey maps on disk, the kind of an answer, geometry undone, the format's ceiling
evaluation   scores.csv, floors, covariates, all cases, thresholds
selection    comparison.csv: selections, the swap test, the difficulty curve
published    the study's values, as reference marks
tables       what a reader sees
figures      what is drawn

It may import films' floor and all below; no other stage.
"""
