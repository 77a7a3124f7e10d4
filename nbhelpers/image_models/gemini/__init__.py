"""Google's Gemini image models: a service that `image_models.buying` buys from, and batches at half the price.

- `prices.yaml`: what an image costs and what a model takes, dated
- `settings`: the `gemini_*` parameters
- `client`: one request to the service, the class of what the SDK raises, and whether the model is there
- `outcomes`: what a reply is, as data
- `online`: a model of it as a service that is bought from
- `service`: other calls to the service, tried again; jobs found by name; result files
- `batch`: jobs at half the price, found again by whoever starts next

May import the modules of `image_models`, and what they may.
"""
