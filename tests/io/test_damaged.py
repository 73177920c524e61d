"""Damaged pictures and videos: a result, or one line that names the file; never a trace.

Mutants of small files, from a seed: bytes changed, left out, put in, and the end cut off.
"""

import io
import random

import cv2
import numpy as np
import pytest
import tiny_clips
from PIL import Image

from portrait.errors import UserError
from portrait.io.images import read_image
from portrait.io.mattes import read_matte
from portrait.io.video_reader import open_video
from portrait.io.video_writer import write_video

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what Pillow says besides
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def mutants(data: bytes, count: int, seed: int):
    draw = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(data[: draw.randrange(1, len(data))] if draw.random() < 0.2 else data)
        for _ in range(draw.choice([1, 2, 4, 10, 40])):
            place = draw.randrange(min(len(mutant), draw.choice([64, 600, len(data)])))
            kind = draw.randrange(4)
            if kind == 0:
                mutant[place] = draw.randrange(256)
            elif kind == 1:
                mutant[place : place + 4] = draw.choice(
                    [bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 3]
                )
            elif kind == 2 and len(mutant) > 300:
                del mutant[place : place + draw.choice([1, 7, 100])]
            else:
                mutant[place:place] = draw.randbytes(draw.choice([1, 8, 188]))
        yield bytes(mutant)


def pictures() -> dict[str, bytes]:
    files = {}
    picture = Image.fromarray(NOISE)
    for name, kind, options in [
        ("a.png", "PNG", {}),
        ("a.jpg", "JPEG", {}),
        ("b.jpg", "JPEG", {"progressive": True}),
        ("a.webp", "WEBP", {}),
        ("a.gif", "GIF", {}),
        ("a.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("a.avif", "AVIF", {}),
    ]:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        files[name] = buffer.getvalue()
    files["b.tif"] = cv2.imencode(".tif", NOISE.astype(np.float32) / 255)[1].tobytes()
    return files


@pytest.mark.parametrize("name", sorted(pictures()))
def test_damaged_pictures(tmp_path, name, capfd):
    told = 0
    for data in mutants(pictures()[name], 25, seed=1):
        (tmp_path / name).write_bytes(data)
        for read in (read_image, read_matte):
            try:
                read(tmp_path / name)
            except UserError as error:
                assert name in str(error) and "\n" not in str(error)
                told += 1
    assert told > 5
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "codec", "audio"),
    [
        ("a.mp4", "libx264", "aac"),
        ("a.mkv", "ffv1", "pcm_s16le"),
        ("a.webm", "libvpx-vp9", "libopus"),
        ("a.avi", "mpeg4", "libmp3lame"),
        ("a.ts", "libx264", "aac"),
        ("a.mpg", "libx264", "mp2"),
        ("a.flv", "libx264", "aac"),
        ("a.wmv", "msmpeg4v3", "libmp3lame"),
        ("a.ogv", "libvpx", "libopus"),
    ],
)
def test_damaged_videos(tmp_path, name, codec, audio, capfd):
    frames = np.stack([np.roll(NOISE, 4 * step, axis=1) for step in range(6)]).repeat(2, 1)
    data = tiny_clips.write(tmp_path / name, frames, audio=audio, codec=codec).read_bytes()
    capfd.readouterr()  # x265 and others tell how they encoded
    for index, mutant in enumerate(mutants(data, 25, seed=2)):
        (tmp_path / name).write_bytes(mutant)
        target = tmp_path / f"out{('.mp4', '.webm', '.mov')[index % 3]}"
        try:
            reader = open_video(tmp_path / name)
            write_video(target, reader, reader)
            reader.close()
        except UserError as error:
            assert name in str(error) or target.name in str(error)
            assert "\n" not in str(error)
    assert capfd.readouterr().err == ""
    assert all(path.name == name or path.stem == "out" for path in tmp_path.iterdir())


@pytest.mark.parametrize("head", [b"\x1aE\xdf\xa3", b"OggS", b"\0\0\0\x18ftypisom", b"RIFF", b""])
def test_nothing_but_a_head(tmp_path, head):
    """FFmpeg says of those that the file ends."""
    (tmp_path / "a.mkv").write_bytes(head)
    with pytest.raises(UserError, match=r"a\.mkv"):
        open_video(tmp_path / "a.mkv")
