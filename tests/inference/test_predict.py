"""Tests the mattes and cut-outs of files and folders, and their names."""

import numpy as np
import pytest
from PIL import Image

from portrait.errors import UserError
from portrait.inference.predict import predict


def red_is_alpha(image):
    return image[:, :, 0].astype(np.float32) / 255


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def names(paths):
    return [path.name for path in paths]


def test_alpha_and_cutout(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "me.png")
    written = predict(red_is_alpha, [tmp_path / "me.png"], tmp_path / "new" / "out")
    assert names(written) == ["me_alpha.png", "me_cutout.png"]
    alpha, cutout = (Image.open(path) for path in written)
    assert (alpha.mode, cutout.mode) == ("L", "RGBA")
    assert np.array_equal(alpha, photo[..., 0])
    assert np.array_equal(cutout, np.dstack([photo, photo[..., 0]]))


def test_a_folder_as_its_own_output_gives_the_same_again(photo, tmp_path):
    for name in "a.png", "a.tif", "b.bmp", "b_matte.png", "holiday_matte.png":
        Image.fromarray(photo).save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    first = predict(red_is_alpha, [tmp_path], tmp_path)
    bases = "a", "a.tif", "b", "holiday_matte"
    assert names(first) == [f"{base}_{kind}.png" for base in bases for kind in ("alpha", "cutout")]
    assert predict(red_is_alpha, [tmp_path], tmp_path) == first
    assert all(path.read_bytes() == content for path, content in before.items())


def test_same_names_from_several_folders(photo, tmp_path):
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        name = "A.png" if number == 3 else "a.png"
        Image.fromarray(photo // (number + 1)).save(tmp_path / str(number) / name)
    inputs = [tmp_path / "0" / "a.png", *(tmp_path / str(number) for number in range(4))]
    written = predict(red_is_alpha, inputs, tmp_path / "out")
    alphas = written[::2]
    assert names(alphas) == [
        "a_alpha.png",
        "a.png_alpha.png",
        "a.png-2_alpha.png",
        "A.png-3_alpha.png",
    ]
    for number, path in enumerate(alphas):
        assert np.array_equal(Image.open(path), (photo // (number + 1))[..., 0])


def test_a_given_photograph_is_never_overwritten(photo, tmp_path):
    for name in "a.png", "a_alpha.png":
        Image.fromarray(photo).save(tmp_path / name)
    before = (tmp_path / "a_alpha.png").read_bytes()
    inputs = [tmp_path / "a.png", tmp_path / "a_alpha.png"]
    written = predict(red_is_alpha, inputs, tmp_path)
    assert names(written[::2]) == ["a.png_alpha.png", "a_alpha_alpha.png"]
    assert (tmp_path / "a_alpha.png").read_bytes() == before


def test_unreadable_pictures(photo, tmp_path, caplog):
    Image.fromarray(photo).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 and then nothing")
    written = predict(red_is_alpha, [tmp_path, tmp_path / "gone.jpg"], tmp_path / "out")
    assert names(written) == ["good_alpha.png", "good_cutout.png"]
    for word in "(2)", "bad.jpg", "gone.jpg":
        assert word in caplog.text
    with pytest.raises(UserError, match=r"bad\.jpg"):
        predict(red_is_alpha, [tmp_path / "bad.jpg"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        predict(red_is_alpha, [tmp_path / "empty"], tmp_path / "out")
