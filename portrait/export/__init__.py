"""Exports trained networks for phones: `main.py --convert=True` and `--compress`.

A file is kept if phone GPUs support its operations and if its alphas match its Keras model.
"""

import logging

from portrait.export.convert import FilesRefused, convert_all
from portrait.export.formats import FORMATS
from portrait.export.samples import load_samples

# Away from macOS it logs ten warnings on import.
logging.getLogger("coremltools").setLevel(logging.ERROR)

__all__ = ["FORMATS", "FilesRefused", "convert_all", "load_samples"]
