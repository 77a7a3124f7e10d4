"""Google's Gemini image models: each image paid for once, within a budget, and kept as it came.

- `key`: the API key, from the environment alone, and taken out of whatever is written
- `prices`, `prices.yaml`: what an image costs; the dated price list
- `client`: one request to the service, and the class of what the SDK raises
- `outcomes`: what a reply or an error is, as data (here a 429 is told from a quota of the day)
- `purchases`: settings, what is wanted and what is here, budget, images and outcomes noted
- `online`: so many requests in flight, waits, retries and stops
- `batch`: jobs at half the price, found again by whoever starts next

May import `image_models.ledger` and `originals`, and what `image_models` may.
"""
