"""Tests alignment of image and matte, reproducibility and names of augmentations."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import augmentation
from augmentation import DEFAULT, NAMES, Augmentation, parse
from portrait.errors import UserError

GEOMETRIC = NAMES[: NAMES.index("background")]
ROOT = Path(augmentation.__file__).parent


def people(count: int = 64, height: int = 64, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Discs with a soft edge in front of noise; the red channel is the matte."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - 0.4 * height, columns - 0.55 * width)
    matte = (255 * np.clip((0.3 * width - distance) / 4 + 0.5, 0, 1)).astype(np.uint8)
    mattes = np.repeat(matte[None], count, axis=0)
    noise = np.random.default_rng(0).integers(0, 256, (count, height // 8, width // 8, 3))
    images = np.stack([cv2.resize(n.astype(np.uint8), (width, height)) for n in noise])
    images[..., 0] = mattes
    return images, mattes


def scenery() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((40, 90), (200, 150))]


def digest(names: tuple[str, ...], seed: int) -> str:
    images, mattes = Augmentation(names, backgrounds=scenery())(*people(), seed)
    return hashlib.sha256(images.tobytes() + mattes.tobytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_each_name_alone_changes_pictures_and_keeps_their_form(name):
    images, mattes = people()
    before = images.copy(), mattes.copy()
    new_images, new_mattes = Augmentation([name], backgrounds=scenery())(images, mattes, 3)
    assert new_images.dtype == new_mattes.dtype == np.uint8
    assert new_images.shape == images.shape and new_mattes.shape == mattes.shape
    assert (new_images != images).any()
    assert (new_mattes != mattes).any() == (name in GEOMETRIC)
    np.testing.assert_array_equal(images, before[0])  # the caller's arrays are unchanged
    np.testing.assert_array_equal(mattes, before[1])


@pytest.mark.parametrize("names", [*((name,) for name in GEOMETRIC), GEOMETRIC])
def test_geometry_moves_image_and_matte_together(names):
    # The matte was painted into the red channel: wherever it went, the matte went too, also where
    # the picture is continued beyond the frame. One level of rounding may differ.
    images, mattes = Augmentation(names, strength=1.5)(*people(), seed=4)
    np.testing.assert_allclose(images[..., 0].astype(int), mattes.astype(int), atol=1)


@pytest.mark.parametrize("name", [n for n in GEOMETRIC if not n.startswith("flip")])
def test_matte_is_interpolated(name):
    # Of a hard disc (88 pixels around) nearest neighbour makes no value between 0 and 255.
    images, mattes = people()
    hard = np.where(mattes > 127, 255, 0).astype(np.uint8)
    _, moved = Augmentation([name])(images, hard, seed=5)
    changed = [m for m, before in zip(moved, hard, strict=True) if (m != before).any()]
    assert len(changed) > 2
    assert min(np.count_nonzero((m > 0) & (m < 255)) for m in changed) > 20


@pytest.mark.parametrize("name", GEOMETRIC)
def test_soft_edge_stays_soft(name):
    # The edge rises by 255 / 4 levels a pixel; what shrinks to 0.75 or bends makes it steeper by
    # less than twice, and never the 255 of a hard edge.
    _, moved = Augmentation([name])(*people(), seed=5)
    assert np.abs(np.diff(moved.astype(int), axis=2)).max() < 2 * 255 / 4


def test_same_seed_same_result_whatever_ran_before():
    # With every name, because imgaug's seeding can miss the choice between several children.
    augment = Augmentation(NAMES, backgrounds=scenery())
    first = augment(*people(), seed=1)
    other = augment(*people(), seed=2)
    np.random.seed(0)  # noqa: NPY002 (a stranger that touches the global generator)
    again = pickle.loads(pickle.dumps(augment))(*people(), seed=1)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_same_result_in_another_process_and_global_generator_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    here = digest(NAMES, 7)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    code = "import test_augmentation as t; print(t.digest(t.NAMES, 7))"
    folders = ROOT, ROOT / "tests" / "helpers", ROOT / "tests" / "data"
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(map(str, folders)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split()[-1] == here


def test_background_share_and_absence():
    images, mattes = people(2000, 16, 16)
    changed = Augmentation(["background"], backgrounds=scenery())(images, mattes, 0)[0] != images
    share = changed.any(axis=(1, 2, 3)).mean()
    # Binomial: 3 standard deviations of 2000 draws.
    assert share == pytest.approx(0.5, abs=3 * (0.5 * 0.5 / 2000) ** 0.5)
    np.testing.assert_array_equal(Augmentation(["background"])(images, mattes, 0)[0], images)


def test_half_of_the_pictures_are_mirrored():
    images, mattes = people(500, 16, 16)
    flipped, _ = Augmentation(["flip_horizontal"])(images, mattes, 0)
    changed = (flipped != images).any(axis=(1, 2, 3))
    assert np.array_equal(flipped[changed], images[changed][:, :, ::-1])
    # Binomial: 3 standard deviations.
    assert changed.mean() == pytest.approx(0.5, abs=3 * (0.5 * 0.5 / 500) ** 0.5)


def test_people_are_moved_to_all_sides_and_scaled_both_ways():
    images, mattes = people(256)
    _, moved = Augmentation(["affine"])(images, mattes, 3)
    rows, columns = np.mgrid[:64, :48]

    def middles(mattes, axis):
        return (mattes * axis).sum(axis=(1, 2), dtype=float) / mattes.sum(axis=(1, 2), dtype=float)

    for axis in rows, columns:
        shifts = middles(moved, axis) - middles(mattes, axis)
        assert shifts.min() < -2 and shifts.max() > 2
    _, scaled = Augmentation(["rotate_scale"])(images, mattes, 3)
    areas = scaled.sum(axis=(1, 2), dtype=float) / mattes[0].sum(dtype=float)
    assert areas.min() < 0.8 and areas.max() > 1.3


def test_strength_reaches_the_background(monkeypatch):
    strengths = set()

    def replace(image, matte, background, rng, strength):
        strengths.add(strength)
        return image

    monkeypatch.setattr(augmentation, "replace_background", replace)
    Augmentation(["background"], 0.5, scenery())(*people(), 0)
    assert strengths == {0.5}


def test_pictures_in_which_nobody_is_stay():
    images, mattes = people(32)
    mattes[::2] = 0
    augmented, _ = Augmentation(["background"], backgrounds=scenery())(images, mattes, 0)
    changed = (augmented != images).any(axis=(1, 2, 3))
    assert not changed[::2].any() and changed[1::2].any()


def test_strongest_setting_leaves_something_to_see():
    images, mattes = Augmentation(NAMES, strength=3, backgrounds=scenery())(*people(256), seed=8)
    assert images.shape == (256, 64, 48, 3)
    assert np.mean(images.std(axis=(1, 2, 3)) > 10) > 0.9
    assert np.mean(mattes.max(axis=(1, 2)) > 127) > 0.9


def test_no_names_or_no_strength_change_nothing():
    images, mattes = people()
    np.testing.assert_array_equal(Augmentation([])(images, mattes, 0)[0], images)
    still = [n for n in NAMES if n in ("rotate_scale", "affine", "add", "gamma", "contrast")]
    result = Augmentation(still, strength=0)(images, mattes, 0)
    np.testing.assert_array_equal(result[0], images)
    np.testing.assert_array_equal(result[1], mattes)


def test_parse():
    assert parse("default") == DEFAULT and parse("all") == NAMES and parse("none") == ()
    assert parse("gamma, affine") == ("affine", "gamma")
    assert parse("default,elastic,-jpeg") == tuple(
        n for n in NAMES if n in {*DEFAULT, "elastic"} - {"jpeg"}
    )
    assert parse("-jpeg") == tuple(n for n in DEFAULT if n != "jpeg")
    assert "flip_vertical" not in DEFAULT and len(set(NAMES)) == len(NAMES)
    with pytest.raises(UserError, match=r"'blurr'.*gaussian_blur"):
        parse("affine,blurr")
    with pytest.raises(ValueError, match="blurr"):
        Augmentation(["blurr"])
    with pytest.raises(ValueError, match="strength"):
        Augmentation(NAMES, strength=-0.5)
