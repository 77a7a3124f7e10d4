"""Helpers behind the notebooks: synthetic chest X-rays in, an honest score on real films out."""

__version__ = "0.1.0"
