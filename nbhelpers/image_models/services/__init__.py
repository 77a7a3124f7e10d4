"""Image models of other services than Gemini's, each a `image_models.online.Service`.

- `asked`: what they have in common: picture and mask that a request brings, statuses, the one error, prices
- `prices.yaml`: what an image costs, dated; by third parties
- `openai_images`: OpenAI, and Ark (Seedream), which speaks the same protocol
- `bfl`: Black Forest Labs (FLUX): two requests and a wait
- `registry`: a service by its name, Gemini too

May import what `image_models` may, and its modules.
"""
