"""Tests apply.py on folders."""

import numpy as np
import pytest
import tiny_clips
from PIL import Image

from portrait.commands.apply import apply
from portrait.errors import UserError


def test_a_folder(portrait, tmp_path, caplog, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "a.png", "b.png", "b.jpg":
        Image.fromarray(np.asarray(Image.open(portrait))[::2, ::2]).save(folder / name)
    Image.new("L", (168, 224)).save(folder / "a_matte.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    written = apply(folder, effect=["alpha"], output=tmp_path / "out")
    assert [path.name for path in written] == ["a_alpha.png", "b_alpha.png", "b.png_alpha.png"]
    assert capsys.readouterr().out.split() == list(map(str, written))
    assert "bad.jpg" in caplog.text
    assert np.asarray(Image.open(tmp_path / "out" / "a_alpha.png")).shape == (224, 168)


def test_a_folder_with_photos_and_videos(red, tmp_path, caplog):
    folder = tmp_path / "in"
    folder.mkdir()
    frames = np.zeros((2, 64, 48, 3), np.uint8)
    frames[:, 20:, 10:40] = (255, 40, 0)
    tiny_clips.write(folder / "b.mp4", frames)
    tiny_clips.write(folder / "a.mkv", frames)
    (folder / "bad.mp4").write_bytes(b"no video")
    Image.fromarray(frames[0]).save(folder / "a.png")
    walls = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (80, 200)])
    behind = tiny_clips.write(tmp_path / "behind.mp4", walls)
    written = apply(
        folder,
        output=tmp_path / "out",
        output_alpha=tmp_path / "alphas",
        effect=["replace"],
        background=str(behind),
        model=str(red),
        input_range="0..1",
    )
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {
        *("out/a_replace.png", "out/a_replace.mp4", "out/b_replace.mp4"),
        *("alphas/a_alpha.png", "alphas/a_alpha.mp4", "alphas/b_alpha.mp4"),
    }
    assert all(path.is_file() for path in written)
    assert "bad.mp4" in caplog.text
    # The background starts again with each video.
    for name in "ab":
        corner = tiny_clips.read(tmp_path / "out" / f"{name}_replace.mp4")[0][:, 5, 5, 0]
        assert np.abs(corner - np.array([80.0, 200.0])).max() < 12


def test_unusable_photos_do_not_keep_videos_from_being_made(red, tmp_path, caplog):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "bad.jpg").write_bytes(b"no picture")
    pixels = [Image.new("RGB", (1, 1), colour) for colour in ("red", "green")]
    pixels[0].save(folder / "a.gif", save_all=True, append_images=pixels[1:])
    common = {"output": output, "effect": ["green_screen"], "model": str(red)}
    common["input_range"] = "0..1"
    with pytest.raises(UserError, match=r"bad\.jpg.*a\.gif: a picture of 1 x 1 is too small"):
        apply(folder, **common)
    assert not output.exists() or not list(output.iterdir())
    tiny_clips.write(folder / "b.mp4", np.zeros((2, 64, 48, 3), np.uint8))
    assert apply(folder, **common) == [output / "b_green_screen.mp4"]
    assert "bad.jpg" in caplog.text and "a.gif" in caplog.text


def test_a_folder_does_not_overwrite_a_background_with_the_name_of_a_result(portrait, tmp_path):
    photos, made = tmp_path / "photos", tmp_path / "made"
    photos.mkdir()
    made.mkdir()
    (photos / "me.jpg").write_bytes(portrait.read_bytes())
    targets = {"output": made, "output_alpha": made}
    used = {"background": made / "me_replace.png", "plate": made / "me_alpha.png"}
    for path in used.values():
        path.write_bytes(portrait.read_bytes())
    written = apply(photos, effect=["replace"], **used, **targets)
    assert [path.name for path in written] == ["me.jpg_replace.png", "me.jpg_alpha.png"]
    assert all(path.read_bytes() == portrait.read_bytes() for path in used.values())


def test_a_folder_leaves_out_photos_that_a_plate_does_not_fit(portrait, tmp_path, caplog):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "plate.png")
    with Image.open(portrait) as picture:
        picture.resize((64, 64)).save(photos / "fits.png")
        picture.resize((64, 96)).save(photos / "long.png")
    written = apply(photos, output=tmp_path / "made", plate=str(tmp_path / "plate.png"))
    assert [path.name for path in written] == ["fits_blur.png"]
    assert "long.png: " in caplog.text and "does not fit" in caplog.text


@pytest.mark.parametrize("flag", ["output", "output_alpha"])
def test_a_folder_of_results_is_not_called_like_a_picture(portrait, tmp_path, flag):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "me.jpg").write_bytes(portrait.read_bytes())
    folders = {"output": tmp_path / "made"} | {flag: tmp_path / "made.png"}
    with pytest.raises(UserError, match=r"made\.png: name a folder"):
        apply(photos, **folders)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
