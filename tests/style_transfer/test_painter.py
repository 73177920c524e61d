"""Tests painting photographs with a trained network, and photographs and videos in one call."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny_clips
from PIL import Image
from project import ROOT
from style_networks import picture, random_network, write_run

from portrait.errors import UserError
from portrait.io.images import read_image, shrink, write_png
from portrait.io.video_reader import VideoReader
from portrait.style_transfer import painter, strips, transform_net, video
from portrait.style_transfer.colour import with_colours_of
from portrait.style_transfer.mixes import parse_mix, style_label, style_names
from portrait.style_transfer.painter import Painter

NAMES = ["udnie", "great_wave"]


@pytest.fixture(scope="module")
def network():
    return random_network(2)


@pytest.mark.parametrize(
    ("text", "mix"),
    [
        *(("", [1, 0]), ("great_wave", [0, 1]), ("udnie:3,great_wave:1", [0.75, 0.25])),
        ("udnie,great_wave,udnie:2", [0.75, 0.25]),
        *(("udnie:1e-60", [1, 0]), ("udnie:1e308,great_wave:1e308,udnie:1e308", [2 / 3, 1 / 3])),
    ],
)
def test_parse_mix(text, mix):
    np.testing.assert_allclose(parse_mix(text, NAMES), mix)


@pytest.mark.parametrize("text", ["scream", "udnie:x", "udnie:-1", "udnie:nan"])
def test_parse_mix_names_what_is_wrong(text):
    with pytest.raises(UserError, match=text):
        parse_mix(text, NAMES)


def test_any_size_is_painted_and_only_its_own_pixels_count(network):
    paint = Painter(network, np.float32([1, 0]))
    photo = picture(37, 50)
    painted = paint(photo)
    assert painted.shape == photo.shape and painted.dtype == np.uint8
    padded = np.pad(photo, ((0, 3), (0, 2), (0, 0)), "reflect")
    np.testing.assert_array_equal(painted, paint(padded)[:37, :50])
    for shape in ((48, 32), (32, 20), (64, 44)):
        assert paint(picture(*shape)).shape == (*shape, 3)
    with pytest.raises(UserError, match="15 x 40"):
        paint(picture(40, 15))


@pytest.mark.parametrize("shape", [(300, 200), (52, 640), (400, 20)])
def test_strips_are_painted_as_the_whole_picture(network, shape):
    """No seam: the statistics are those of all rows, and rows beside a strip are known to it."""
    fixed = transform_net.fix_style(network, np.float32([0.3, 0.7]))
    photo = picture(*shape)
    whole = keras.ops.convert_to_numpy(fixed(np.float32(photo[None])))[0]
    for strip in (1, 3000, 10**6):
        np.testing.assert_allclose(strips.paint(fixed, photo, strip), whole, atol=0.01)


@pytest.mark.slow
def test_twelve_megapixels_take_less_than_four_gigabytes(tmp_path):
    write_png(tmp_path / "large.png", picture(3000, 4000))
    command = [
        sys.executable,
        ROOT / "stylize.py",
        f"--content={tmp_path / 'large.png'}",
        "--size=0",
    ]
    process = subprocess.Popen([*command, f"--output={tmp_path}"], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    assert used.ru_maxrss * 1024 < 4e9
    (painted,) = set(tmp_path.iterdir()) - {tmp_path / "large.png"}
    assert read_image(painted).shape == (3000, 4000, 3)


def test_litert_paints_as_keras_does(network):
    """Also pictures whose size is no multiple of 4, and of another size afterwards."""
    mix = np.float32([0.5, 0.5])
    keras_painter, fast = Painter(network, mix), Painter(network, mix, threads=2)
    for shape in ((37, 50), (37, 50), (48, 32)):
        photo = picture(*shape)
        np.testing.assert_allclose(fast.paint(photo), keras_painter.paint(photo), atol=0.1)


def test_strength_blends_with_the_photo(network):
    photo, mix = picture(32, 32), np.float32([0, 1])
    full = Painter(network, mix)(photo).astype(float)
    np.testing.assert_array_equal(Painter(network, mix, strength=0)(photo), photo)
    half = Painter(network, mix, strength=0.5)(photo)
    np.testing.assert_allclose(half, (full + photo) / 2, atol=1)  # two roundings


def test_colours_of_the_photo(network):
    photo, mix = picture(32, 32), np.float32([0, 1])
    matched = Painter(network, mix, colours="histogram")(photo)
    np.testing.assert_allclose(matched.mean((0, 1)), photo.mean((0, 1)), atol=3)
    painted = Painter(network, mix)(photo)
    found = Painter(network, mix, colours="luminance")(photo)
    assert np.abs(found.astype(int) - painted).max() > 5
    # `painted` is rounded to whole levels already.
    np.testing.assert_allclose(found, with_colours_of(painted, photo), atol=1.5)


def test_files_are_named_after_photo_and_style(tmp_path):
    for name in ("a.png", "a.jpg.png", "b.png"):
        write_png(tmp_path / "in" / name, picture(24, 20))
    (tmp_path / "in" / "a.jpg").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    (tmp_path / "in" / "c.jpg").write_bytes(b"broken")
    written = painter.paint_photos(
        lambda photo: 255 - photo, [tmp_path / "in"], tmp_path / "out", "udnie", 16
    )
    names = [path.name for path in written]
    assert names == ["a_udnie.png", "a.jpg_udnie.png", "a.png_udnie.png", "b_udnie.png"]
    np.testing.assert_array_equal(read_image(written[0]), 255 - shrink(picture(24, 20), 16))
    assert read_image(written[0]).shape == (16, 13, 3)


def test_mattes_and_own_paintings_are_not_painted(tmp_path):
    for name in ("a.png", "a_matte.png"):
        write_png(tmp_path / name, picture(24, 20))
    arguments = (lambda photo: 255 - photo, [tmp_path], tmp_path, "great_wave", 0)
    written = painter.paint_photos(*arguments)
    assert written == [tmp_path / "a_great_wave.png"]
    assert painter.paint_photos(*arguments) == written


def test_a_photo_is_never_overwritten(tmp_path):
    photos = [tmp_path / "a.png", tmp_path / "a_udnie.png"]
    for photo in photos:
        write_png(photo, picture(24, 20))
    written = painter.paint_photos(lambda photo: 255 - photo, photos, tmp_path, "udnie", 0)
    assert [path.name for path in written] == ["a.png_udnie.png", "a_udnie_udnie.png"]


def test_a_panorama_does_not_stop_a_folder(network, tmp_path, caplog):
    write_png(tmp_path / "in" / "a.png", picture(8, 320))
    write_png(tmp_path / "in" / "b.png", picture(24, 20))
    paint = Painter(network, np.float32([1, 0]))
    written = painter.paint_photos(paint, [tmp_path / "in"], tmp_path / "out", "udnie", 160)
    assert [path.name for path in written] == ["b_udnie.png"]
    assert "a.png" in caplog.text and "160 x 4" in caplog.text


def test_nothing_to_paint(tmp_path):
    with pytest.raises(UserError, match=tmp_path.name):
        painter.paint_photos(lambda photo: photo, [tmp_path], tmp_path, "x", 0)
    with pytest.raises(UserError, match=r"gone\.jpg"):
        painter.paint_photos(lambda photo: photo, ["gone.jpg"], tmp_path, "x", 0)


def test_style_label():
    assert style_label("udnie:2,great_wave") == "udnie-2-great_wave"


def test_one_call_paints_photos_and_videos(network, tmp_path, capsys):
    run = write_run(tmp_path / "run", network, NAMES)
    write_png(tmp_path / "a.png", picture(24, 20))
    clip = tiny_clips.write(tmp_path / "clip.mp4", np.full((2, 48, 64, 3), 60, np.uint8))
    options = {"size": 24, "strength": 0.5, "colours": "luminance"}
    content = [clip, tmp_path / "a.png"]
    written = painter.paint(content, "great_wave", run, tmp_path / "out", **options)
    assert [path.name for path in written] == ["a_great_wave.png", "clip_great_wave.mp4"]
    printed = capsys.readouterr().out
    assert all(str(path) in printed for path in written)
    expected = Painter(network, np.float32([0, 1]), 0.5, "luminance")(shrink(picture(24, 20), 24))
    np.testing.assert_array_equal(read_image(written[0]), expected)
    frames = [item for item in VideoReader(written[1]) if hasattr(item, "image")]
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 2


def test_the_result_of_a_photo_does_not_overwrite_an_animated_source(network, tmp_path):
    run = write_run(tmp_path / "run", network, NAMES)
    write_png(tmp_path / "a.png", picture(24, 20))
    moving = tmp_path / "a_great_wave.png"
    frames = [Image.fromarray(picture(24, 20) // part) for part in (1, 2)]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    before = moving.read_bytes()
    written = painter.paint([tmp_path / "a.png", moving], "great_wave", run, tmp_path, size=24)
    assert [path.name for path in written] == [
        *("a.png_great_wave.png", "a_great_wave_great_wave.mp4")
    ]
    assert moving.read_bytes() == before


def test_ctrl_c_in_a_video_leaves_the_next_one_alone(network, tmp_path, monkeypatch):
    painted = []

    def interrupted(paint, source, target):
        painted.append(source)
        return 5, False

    monkeypatch.setattr(video, "paint_video", interrupted)
    run = write_run(tmp_path / "run", network, NAMES)
    with pytest.raises(KeyboardInterrupt):
        painter.paint(["one.mp4", "two.mp4"], weight_dir=run, output=tmp_path)
    assert painted == ["one.mp4"]


@pytest.mark.parametrize("files", [["a/wave.png", "b/wave.jpg"], ["a,b.png"], ["a:2.png"]])
def test_names_of_files_that_cannot_be_names_of_styles(files):
    assert style_names(["a/wave.png", "sea.jpg"]) == ["wave", "sea"]
    with pytest.raises(UserError, match=Path(files[0]).stem):
        style_names(files)


def test_load_network_explains_what_is_missing(tmp_path, network):
    folder = tmp_path / "paintings"
    folder.mkdir()
    with pytest.raises(UserError, match=r"paintings"):
        painter.load_network(folder)
    network.save_weights(folder / "paintings.weights.h5")
    with pytest.raises(UserError, match=r"run\.json"):
        painter.load_network(folder)
    about = {"flags": {"model_size": "small"}, "styles": NAMES}
    (folder / "run.json").write_text(json.dumps(about))
    for wrong in ({"styles": NAMES[0]}, {"styles": []}, {"flags": {"model_size": {}}}):
        (folder / "run.json").write_text(json.dumps(about | wrong))
        with pytest.raises(UserError, match=r"run\.json"):
            painter.load_network(folder)
    (folder / "run.json").write_text(json.dumps(about))
    loaded, names = painter.load_network(folder)
    assert names == NAMES
    for before, after in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
