import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from project import ROOT

from portrait.data.sample import sample as sample_data
from portrait.data.sample.astronaut import FACE, ROWS, Placement, compose, matted_portrait
from portrait.data.sample.sample import ensure_sample, make_sample
from portrait.errors import UserError

FEW = {"training": 8, "testing": 3}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample", **FEW)


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def raising(error):
    def fail(*_):
        raise error

    return fail


def test_layout_is_that_of_pfcn(sample):
    expected = {"sample.json"}
    for part, count in FEW.items():
        for number in range(1, count + 1):
            expected |= {f"{part}/{number:05d}.jpg", f"{part}/{number:05d}_matte.png"}
    assert set(files_of(sample)) == expected


def test_mattes_are_soft_and_the_body_leaves_at_the_bottom(sample):
    shares = []
    for path in sample.rglob("*_matte.png"):
        matte = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        image = cv2.imread(str(path).replace("_matte.png", ".jpg"), cv2.IMREAD_UNCHANGED)
        assert (matte.dtype, matte.shape) == (np.uint8, (320, 240))
        assert (image.dtype, image.shape) == (np.uint8, (320, 240, 3))
        assert {0, 255} <= set(matte.ravel())
        assert np.mean((matte > 10) & (matte < 245)) > 0.002
        assert matte[-1].max() == 255
        shares.append(matte.mean() / 255)
    assert min(shares) > 0.03
    assert max(shares) < 0.8
    assert 0.2 < np.mean(shares) < 0.6


def test_same_seed_same_bytes_whatever_the_count(sample, tmp_path):
    again = files_of(make_sample(tmp_path / "again", training=2, testing=1))
    first = files_of(sample)
    assert all(first[name] == again[name] for name in again if name != "sample.json")
    other = files_of(make_sample(tmp_path / "other", seed=1, training=2, testing=1))
    assert not any(other[name] == again[name] for name in again)


def test_testing_backgrounds_are_never_trained_on(tmp_path, monkeypatch):
    asked = set()
    load = sample_data.sample_backgrounds
    monkeypatch.setattr(
        sample_data, "sample_backgrounds", lambda held_out: asked.add(held_out) or load(held_out)
    )
    make_sample(tmp_path / "a", training=8, testing=0)
    assert asked == {False}
    asked.clear()
    make_sample(tmp_path / "b", training=0, testing=3)
    assert asked == {True}
    training, testing = ({p.tobytes() for p in load(part)} for part in (False, True))
    assert (len(training), len(testing)) == (8, 2)
    assert not training & testing


def test_black_and_white_backgrounds_give_the_matte_back():
    """Two known backgrounds determine alpha (Smith and Blinn, 1996): white - black = 1 - alpha."""
    placement = Placement(scale=0.6, angle=12, face=(100, 130), mirror=True)
    colours = matted_portrait()[1]
    black, matte = compose(colours, np.zeros((320, 240, 3)), placement)
    white, _ = compose(colours, np.full((320, 240, 3), 255.0), placement)
    np.testing.assert_allclose(1 - (white - black) / 255, matte[..., None] + [0, 0, 0], atol=1e-6)
    assert 0.2 < matte.mean() < 0.8


def test_set_before_her_own_photograph_nothing_changes_but_the_rim():
    photo, colours, alpha = matted_portrait()
    image, matte = compose(colours, photo, Placement(1.0, 0, FACE, mirror=False))
    np.testing.assert_allclose(matte, alpha, atol=1e-6)
    sure = (alpha == 0) | (alpha == 1)
    np.testing.assert_allclose(image[sure], photo[sure], atol=1e-3)


@pytest.mark.parametrize(
    ("angle", "mirror", "offset"),
    [(0, False, (30, 0)), (0, True, (-30, 0)), (90, False, (0, -30)), (-90, False, (0, 30))],
)
def test_placement_moves_a_dot_as_documented(angle, mirror, offset):
    """A dot 60 pixels right of the face, at scale 0.5, is 30 from it in the turned frame."""
    colours = np.zeros((ROWS, 512, 3), np.uint8)
    x, y = int(FACE[0]) + 60, int(FACE[1])
    colours[y - 3 : y + 4, x - 3 : x + 4] = 255
    frame = np.zeros((320, 240, 3))
    image, _ = compose(colours, frame, Placement(0.5, angle, (120, 150), mirror))
    mass = image[..., 0] / image[..., 0].sum()
    rows, columns = np.mgrid[:320, :240]
    found = (mass * columns).sum() - 120, (mass * rows).sum() - 150
    np.testing.assert_allclose(found, offset, atol=0.5)


def test_ready_sample_is_returned_untouched(sample, monkeypatch):
    monkeypatch.setattr(sample_data, "make_sample", pytest.fail)
    assert ensure_sample(sample, **FEW) == sample


def test_a_full_disk_or_an_interrupt_leaves_the_old_sample_and_no_rubbish(tmp_path, monkeypatch):
    folder = make_sample(tmp_path / "sample", training=1, testing=1)
    before = files_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", raising(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(UserError, match="sample"):
            make_sample(folder, training=2, testing=1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            make_sample(folder, training=2, testing=1)
    assert files_of(folder) == before
    assert list(tmp_path.iterdir()) == [folder]
    assert len(files_of(ensure_sample(folder, training=2, testing=1))) == 7
    assert list(tmp_path.iterdir()) == [folder]


def test_killed_run_leaves_no_sample(tmp_path):
    folder = tmp_path / "sample"
    code = (
        "import sys; from portrait.data.sample.sample import make_sample; "
        "make_sample(sys.argv[1], training=10_000)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment)
    while run.poll() is None and not list(tmp_path.rglob("*.jpg")):
        time.sleep(0.05)
    run.kill()
    assert run.wait(60) == -signal.SIGKILL
    assert not folder.exists()
    assert len(files_of(ensure_sample(folder, training=1, testing=1))) == 5


@pytest.mark.parametrize("name", ["holiday.jpg", "sample.json"])
def test_a_folder_of_the_users_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(UserError, match=str(tmp_path)):
        ensure_sample(tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="sample"):
        make_sample(tmp_path / "file" / "sample", **FEW)


def test_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a connection was tried"))
    matted_portrait.cache_clear()
    sample_data.sample_backgrounds.cache_clear()
    make_sample(tmp_path / "sample", **FEW)
