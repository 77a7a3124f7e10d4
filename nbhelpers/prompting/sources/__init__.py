"""Where images come from: a module a source, each with a class that `drawing.Source` describes.

- `simulator`: films by formulas, in two looks (`simulator`, `simulator_roentgen`)
- `folder`: the user's own images
- `gemini`: Google's image models
- `services`: image models of OpenAI, Ark (Seedream) and Black Forest Labs (FLUX)
- `roentgen`: RoentGen-v2, or another pipeline of diffusers (`diffusers`), on this machine
- `roentgen_set`: RoentGen-v2's published synthetic set

May import what `prompting` may, and `prompting.drawing`; loaded by name, when an arm names it.
"""
