"""Google's Gemini image models: each image paid for once, within a budget, and kept as it came.

- `prices`, `prices.yaml`: what an image costs and what a model takes; the dated list
- `client`: one request to the service, the class of what the SDK raises, and whether the model is there
- `outcomes`: what a reply or an error is, as data (here a 429 is told from a quota of the day)
- `purchases`: settings, what is wanted and what is here, budget, images and outcomes noted
- `online`: so many requests in flight, waits, retries and stops
- `service`: other calls to the service, tried again; jobs found by name; result files
- `batch`: jobs at half the price, found again by whoever starts next

May import `image_models.ledger`, `originals` and `redaction`, and what `image_models` may.
"""
