"""Editors: image models, and methods without a model, that change a picture as an instruction says.

edits      one wanted edit, one answer, an editor's settings
registry   editors by name, and all edits of a list by all of them
local      methods without a model, on this machine
brought    pictures made elsewhere, and systems that are gone
remote     services, asked over the network and paid
diffusion  open weights on this machine

Imports `nbhelpers.image_models` and what it may import; never a film, the simulator or a stage.
"""
