"""Image models of other services than Gemini's, each a `image_models.online.Service`.

- `prices.yaml`: what an image costs, dated; by third parties
- `openai_images`: OpenAI, and Ark (Seedream), which speaks the same protocol
- `chat`: words about pictures, by OpenAI's and Ark's models
- `bfl`: Black Forest Labs (FLUX): two requests and a wait
- `registry`: a service by its name, Gemini too; asked for pictures or for words

May import what `image_models` may, and its modules.
"""
