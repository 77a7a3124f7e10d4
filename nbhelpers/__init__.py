"""Helpers behind the notebooks: synthetic chest X-rays in, an honest score on real films out."""

import warnings

# Some libraries ask for tqdm's widgets on import and complain where there are none; our bars are text (see progress).
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"
