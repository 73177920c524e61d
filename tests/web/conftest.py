"""Opens one page in one browser for all tests of this folder."""

from types import SimpleNamespace

import built_page
import numpy as np
import pytest
import tiny_tflite
from PIL import Image

SHAPE = (96, 128)


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Files of a network whose alpha is red, and of a style that swaps red and blue."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "red.tflite").write_bytes(tiny_tflite.convolution(SHAPE))
    (folder / "turned.tflite").write_bytes(tiny_tflite.convolution(SHAPE, np.eye(3)[::-1]))
    return [folder / "red.tflite", folder / "turned.tflite"]


@pytest.fixture(scope="session")
def folder(networks, tmp_path_factory):
    """The folder of the built page."""
    return built_page.built(tmp_path_factory.mktemp("page") / "dist", networks)


@pytest.fixture(scope="session")
def page(folder, tmp_path_factory):
    """The page, open: its `window`, its `url` and its `folder`."""
    with (
        built_page.served(folder) as server,
        built_page.opened(server.url, tmp_path_factory.mktemp("profile")) as window,
    ):
        yield SimpleNamespace(window=window, url=server.url, folder=folder)


@pytest.fixture(scope="session")
def window(page):
    return page.window


@pytest.fixture(scope="session")
def person():
    """The person's pixels, a disc, made smaller by a margin or, if it is negative, larger."""
    rows, columns = np.indices(SHAPE)
    return lambda margin=0: np.hypot(rows - 48, columns - 64) < 30 - margin


@pytest.fixture(scope="session")
def photo(person):
    """A person, who is all that is red, before stripes of blue and green; uint8 (96, 128, 3)."""
    image = np.empty((*SHAPE, 3), np.uint8)
    image[:] = np.array([(0, 40, 200), (0, 160, 90)])[np.arange(SHAPE[1]) // 4 % 2]
    image[person()] = (255, 120, 40)
    return image


@pytest.fixture(scope="session")
def photo_file(photo, tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(photo).save(path)
    return path
