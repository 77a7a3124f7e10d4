"""General image models, paid or local: what was asked, what came, what it cost; nothing of a patient is ever sent.

- `ledger`: every request and outcome of a folder, a line each, for one process at a time
- `redaction`: what came from outside, without any key
- `originals`: the images that came, kept byte for byte
- `c2pa`: whether a file carries a signed note of where it comes from
- `gemini/`: Google's image models, online and in batches

What draws with them for notebook 01 is a source: `prompting.sources`, listed in `prompting.drawing.SOURCES`.

May import `images`, `runs`, `metrics`, `style`, `errors`; never a film.
"""
