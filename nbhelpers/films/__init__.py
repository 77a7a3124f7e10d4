"""Films to validate on, real and simulated, in one shape. They never train and choose nothing.

May import cropping and prompting (a film's crop; the simulated hospital's scenes), and what lies below them.

- `film_set`: `FilmSet`, its table and its checks, and how one film is read.
- `registry`: the sets by name, and tables of what they hold and leave out.
- `cache`: films decoded once for all runs, one array a set and size.
- `kermany`, `rsna`, `folder`, `hospital`: a set each, its `load` named in `registry.LOADERS`.
- `layouts`: folders as people unpack them.
- `fetch`: the public sets from Kaggle.
"""
