"""Notebook 06: the same edit through several image models, side by side and measured.

tasks      what is asked, by name; from the packaged `tasks.yaml` or a copy of it
pictures   what it is asked of: simulated pairs with true target and mask, or the user's own pictures
edit       all editors on all pictures, once and in a chain, and the table of edits
measures   what one edit changed, where it should and where it should not
tables     means with intervals, paired differences, what a reader sees
figures    figure 5, the answers, the measures, the chain
widgets    at the screen, a wipe between a picture and its edit

Imports the shared packages; never another stage.
"""
