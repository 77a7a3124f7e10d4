"""Helpers behind the notebooks: synthetic chest X-rays in, an honest score on real films out.

One package a notebook, of its name, on shared ones; imports run downwards only, and packages of one floor do not know
each other:

    __main__                                          the one command
    reporting | pipeline                              what goes out; what runs when
    validation | interpretability | segmentation      notebooks 04, 05 and 07
    films                                             films to validate on
    prompting | cropping | training                   notebooks 01, 02 and 03
    simulator | image_models | networks               what draws, and what looks
    images                                            image files, masks, duplicates
    runs | metrics | style                            a stage of a run; arrays to numbers; how figures look
    errors

Each package's docstring says what its modules hold.
"""

import os
import warnings

__version__ = "0.1.0"

# A thread that has nothing to do sleeps: while it spins, which is the default, other work on the machine stands still.
# It is read when torch is loaded, which is after this.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
# Other packages' bars ask for widgets, which a saved notebook loses; `nbhelpers.runs.progress` draws text bars.
warnings.filterwarnings("ignore", message="IProgress not found")
