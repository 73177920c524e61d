"""Fixtures of the tests of commands."""

import pytest
import tiny_spec


@pytest.fixture(scope="module")
def registered():
    """The network "tiny" is in the registry."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_spec.register(patch)
        yield
