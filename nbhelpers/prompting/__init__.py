"""Notebook 01: what is to be drawn, who draws it, what it costs, and how diverse it comes out.

- `prompts`, `prompt_templates.yaml`: the design (matched pairs of pneumonia and normal) and its words
- `drawing`: a source of images (`Source`, `SOURCES`) and the table of what it drew
- `sources/`: the sources, a module each
- `costs`: estimate and budget before, outcomes and what is missing after
- `diversity`: how different the images are, and whether what was asked for shows
- `figures`: figure 1, outcomes, diversity
- `widgets`: at the screen, attributes turned into a pair, and images reviewed

May import `simulator`, `image_models`, `networks`, `images`, `runs`, `metrics`, `style`, `errors`; no other stage.
"""
