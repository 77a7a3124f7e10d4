"""General image models, paid or local: what was asked, what came, what it cost; nothing of a patient is ever sent.

- `access`: keys and endpoints, from the environment alone, and which services patients' pictures may go to
- `ledger`: every request and outcome of a folder, a line each, for one process at a time
- `redaction`: what came from outside, without any key
- `originals`: the images that came, kept byte for byte
- `geometry`: pictures put into a shape that models draw, and what came put back
- `c2pa`: whether a file carries a signed note of where it comes from
- `outcomes`, `prices`: what a reply or an error is, as data; usage turned into US dollars
- `purchases`: what is wanted and what is here, budget, images and outcomes noted
- `online`: one service asked: so many requests in flight, waits, retries and stops
- `buying`: several services at the same time, one ledger and one budget
- `services/`: OpenAI, Ark (Seedream), Black Forest Labs (FLUX)
- `local_pipeline`: pipelines of diffusers, on this machine
- `gemini/`: Google's image models, online and in batches
- `editors/`: pictures changed as an instruction says, by any of these models and by methods without one

What draws with them for notebook 01 is a source: `prompting.sources`, listed in `prompting.drawing.SOURCES`.

May import `images`, `runs`, `metrics`, `style`, `errors`; never a film.
"""
