"""Fixtures of the tests of commands."""

import pytest
import tiny_spec


@pytest.fixture(scope="module")
def registered():
    """Adds the network "tiny" to the registry."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_spec.register(patch)
        yield
