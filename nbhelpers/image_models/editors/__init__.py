"""Editors: image models, and methods without a model, that change a picture as an instruction says.

edits      one wanted edit, one answer
registry   editors by name, and all edits of a list by all of them

Imports `nbhelpers.image_models` and what it may import; never a film, the simulator or a stage.
"""
