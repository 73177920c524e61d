"""The local page: its function, and its answer over HTTP."""

import json
import urllib.request

import numpy as np
import pytest
from skimage import data

from effects import page
from effects.networks import Network
from files import UserError

NETWORK = Network("test", (64, 48), lambda image: (image[..., 0] > 150).astype(np.float32))


@pytest.fixture
def picture():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:, 30:50] = (220, 80, 40)
    return image


def test_the_function(picture):
    answer = page.make_answer(NETWORK)
    result = answer(picture, ["replace"], 0.5, "#00ff00", None, "", False)
    assert result[40, 40].tolist() == [220, 80, 40] and result[5, 5].tolist() == [0, 255, 0]
    behind = np.full((30, 30, 3), 9, np.uint8)
    result = answer(picture, ["replace"], 0.5, "#00ff00", behind, "", False)
    assert result[5, 5].tolist() == [9, 9, 9]
    assert answer(None, ["blur"], 0.5, "#00ff00", None, "", False) is None
    with pytest.raises(UserError, match="needs --style"):
        answer(picture, ["stylize_person"], 0.5, "#00ff00", None, "", False)


def test_large_pictures_are_made_smaller():
    answer = page.make_answer(NETWORK)
    large = np.kron(data.astronaut()[:300, :400], np.ones((8, 8, 1), np.uint8))
    assert answer(large, ["alpha"], 0.5, "#00ff00", None, "", False).shape == (960, 1280)


@pytest.mark.slow
def test_the_page_answers():
    served = page.build(NETWORK)
    _, url, _ = served.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            html = answer.read().decode()
        with urllib.request.urlopen(f"{url}gradio_api/info", timeout=30) as answer:
            info = json.load(answer)
    finally:
        served.close()
    assert "Portrait effects" in html
    labels = [field["label"] for field in info["named_endpoints"]["/apply"]["parameters"]]
    assert labels[:3] == ["Photograph", "Effects", "Strength of blur"]
