"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def portrait_data() -> Path:
    """The folder of real data (`portraits/`, `photos/`, ...), which a user does not have."""
    folder = Path(os.environ.get("PORTRAIT_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "portraits").is_dir():
        pytest.skip("no real data: set PORTRAIT_DATA to the folder that holds portraits/")
    return folder
