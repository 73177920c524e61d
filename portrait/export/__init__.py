"""Exports trained networks for phones: `main.py --convert=True` and `--compress`.

A file is kept if phone GPUs support its ops and its outputs match the outputs of its Keras model.
"""

import logging

from portrait.export.convert import FilesRefused, convert_all
from portrait.export.formats import FORMATS
from portrait.export.samples import load_samples

# On other systems than macOS, coremltools logs ten warnings when it is imported.
logging.getLogger("coremltools").setLevel(logging.ERROR)

__all__ = ["FORMATS", "FilesRefused", "convert_all", "load_samples"]
