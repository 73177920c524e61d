"""`main.py` with the network of tiny_spec.py, which JAX compiles sooner than the real ones.

python tiny_main.py --model=tiny --train=True ...
"""

import pytest
import tiny_spec

tiny_spec.register(pytest.MonkeyPatch())  # before the flags list the networks

import main  # noqa: E402
from portrait import cli  # noqa: E402

if __name__ == "__main__":
    cli.run(main.dispatch, main.VERBS)
