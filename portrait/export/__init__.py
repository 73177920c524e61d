"""Exports trained networks for phones: `main.py --convert=True` and `--compress`.

A file goes out when its ops are those of phone GPUs and its alphas are those of its Keras model.
"""

import logging

from portrait.export.convert import FilesRefused, convert_all
from portrait.export.formats import FORMATS
from portrait.export.samples import load_samples

# Away from macOS it logs ten warnings on import.
logging.getLogger("coremltools").setLevel(logging.ERROR)

__all__ = ["FORMATS", "FilesRefused", "convert_all", "load_samples"]
