"""Tests that the page reads pictures like the command line."""

import gradio
import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from portrait.effects import page
from portrait.inference.network import Network

NETWORK = Network("test", (64, 48), lambda image: (image[..., 0] > 150).astype(np.float32))


@pytest.fixture(scope="module")
def fields():
    """The photograph and the background."""
    blocks = page.build(NETWORK).blocks.values()
    images = [block for block in blocks if isinstance(block, gradio.Image)]
    return [image for image in images if image.label != "Result"]


def test_uploads(fields, tmp_path):
    assert len(fields) == 2
    hidden = np.zeros((8, 8, 4), np.uint8)
    hidden[..., 0] = 255
    Image.fromarray(hidden).save(tmp_path / "hidden_red.png")
    Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)).save(tmp_path / "grey16.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    for field in fields:
        assert field.preprocess(None) is None
        for name, colour in (("hidden_red.png", 255), ("grey16.png", 100)):
            read = field.preprocess(ImageData(path=str(tmp_path / name), orig_name=name))
            assert read.shape == (8, 8, 3) and (read == colour).all()
        upload = ImageData(path=str(tmp_path / "damaged.png"), orig_name="mine.png")
        with pytest.raises(gradio.Error, match=r"^'?mine\.png"):
            field.preprocess(upload)
