"""Helpers behind the notebooks: synthetic chest X-rays in, an honest score on real films out."""

import warnings

__version__ = "0.1.0"

# Other packages' bars ask for widgets, which a saved notebook loses; `nbhelpers.runs.progress` draws text bars.
warnings.filterwarnings("ignore", message="IProgress not found")
