"""imgaug 0.4.0 on today's NumPy: import `iaa` and `iap` from here, never from imgaug directly.

imgaug reads three names that NumPy has dropped: `np.sctypes` when it is imported, `np.bool` and
`np.complex` when some augmenters run. They are put back only where they are missing: NumPy 2 has
a `np.bool` of its own, and replacing it breaks `numpy.ma` and SciPy.
"""

import numpy as np

_ALIASES = {
    "bool": bool,
    "complex": complex,
    "sctypes": {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64, np.longdouble],
        "complex": [np.complex64, np.complex128, np.clongdouble],
        "others": [bool, object, bytes, str, np.void],
    },
}
for _name, _value in _ALIASES.items():
    if not hasattr(np, _name):
        setattr(np, _name, _value)

import imgaug.augmenters as iaa  # noqa: E402 (after the aliases, which it needs)
import imgaug.parameters as iap  # noqa: E402

__all__ = ["iaa", "iap"]
