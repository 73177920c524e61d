"""Tests the training tiles of the refiner: their content, and that the seed determines them."""

import cv2
import numpy as np
import pytest
import tiny_portraits

from portrait.data.pairs import find_pairs
from portrait.errors import UserError
from portrait.io.images import resize, write_png
from portrait.training import coarse_alphas, refining


@pytest.fixture
def folder(tmp_path):
    """Two pictures, white inside a disc, with their mattes; one is smaller than a tile."""
    for name, height, width in (("a", 200, 180), ("b", 80, 50)):
        matte = np.zeros((height, width), np.uint8)
        cv2.circle(matte, (width // 2, height // 2), width // 3, 255, -1, cv2.LINE_AA)
        write_png(tmp_path / f"{name}.png", np.repeat(matte[..., None], 3, axis=2))
        write_png(tmp_path / f"{name}_matte.png", matte)
    return tmp_path


def test_tiles_show_the_outline_with_its_matte(folder):
    pairs = find_pairs([folder], "training")
    cut = refining.cut_tiles(pairs, (64, 64), 30, [], seed=1)
    assert cut.images.shape == (30, 64, 64, 5) and cut.mattes.shape == (30, 64, 64)
    # Picture, matte and coarse alpha belong together: the picture is its own matte.
    assert np.array_equal(cut.images[..., 0], cut.mattes)
    error = np.abs(cut.images[..., 3:].astype(int) - cut.mattes[..., None]).mean(axis=(0, 1, 2))
    # The picture has the matte's edges, so the guided filter brings its alpha closer.
    assert 0 < error[0] < error[1] < 64
    for coarse in cut.images[..., 4]:
        assert coarse.min() < 250 and coarse.max() > 5
    again = refining.cut_tiles(pairs, (64, 64), 30, [], seed=1)
    assert np.array_equal(again.images, cut.images)
    other = refining.cut_tiles(pairs, (64, 64), 30, [], seed=2)
    assert not np.array_equal(other.images, cut.images)


def test_every_picture_is_used_about_equally_often(tmp_path):
    """Pictures have their number as red; of 12, one cannot be read, and one has no outline."""
    for number in range(12):
        matte = np.zeros((80, 80), np.uint8)
        cv2.circle(matte, (40, 40), 30, 255 if number else 0, -1)
        image = np.dstack([np.full_like(matte, number), matte, matte])
        write_png(tmp_path / f"{number:02}.png", image)
        write_png(tmp_path / f"{number:02}_matte.png", matte)
    (tmp_path / "01.png").write_bytes(b"no picture")
    pairs = find_pairs([tmp_path], "training")
    for count in (4, 12, 75):
        cut = refining.cut_tiles(pairs, (32, 32), count, [])
        numbers = cut.images[:, 0, 0, 0]
        assert len(numbers) == len(cut.mattes) == count
        uses = np.bincount(numbers, minlength=12)
        assert uses[:2].tolist() == [0, 0]
        # By one at most in the first round, and by one in the round that replaces.
        assert uses[2:].max() - uses[2:].min() <= 2
        if count == 75:  # also tiles of a picture that is used again differ, but for chance
            assert len(np.unique(cut.images.reshape(count, -1), axis=0)) >= count - 2


def test_pictures_without_an_outline(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((80, 80, 3), np.uint8))
    write_png(tmp_path / "a_matte.png", np.full((80, 80), 255, np.uint8))
    # Certain pixels stay certain: the coarse alpha is 1 everywhere, too.
    with pytest.raises(UserError, match="outline"):
        refining.cut_tiles(find_pairs([tmp_path], "training"), (64, 64), 9, [], seed=4)


def test_a_network_gives_the_coarse_alpha(folder):
    image = np.zeros((200, 180, 3), np.uint8)

    class Half:
        input_shape = (20, 18)

        def run(self, pixels):
            return np.full(pixels.shape[:2], 0.5, np.float32)

    seen = [
        coarse_alphas.random_coarse(image, image[..., 0], [Half()], np.random.default_rng(seed))
        for seed in range(20)
    ]
    from_network = [(alpha, pixel) for alpha, pixel in seen if (alpha == 0.5).all()]
    assert 4 <= len(from_network) <= 16
    assert all(pixel == pytest.approx(10) for _, pixel in from_network)


def test_networks_see_a_window_around_the_person():
    """A person of 80 x 60 pixels in a picture of 400 x 300, and a network of 40 x 30."""
    image = np.zeros((400, 300, 3), np.uint8)
    image[200:280, 100:160] = 255
    ran = []

    class Brightness:
        input_shape = (40, 30)

        def run(self, pixels):
            ran.append(pixels[..., 0].mean() / 255)
            return pixels[..., 0] / np.float32(255)

    for seed in range(20):
        before = len(ran)
        random = np.random.default_rng(seed)
        alpha, pixel = coarse_alphas.random_coarse(image, image[..., 0], [Brightness()], random)
        found = resize(alpha, image.shape[:2]) >= 0.5
        assert (found != (image[..., 0] > 0)).sum() < 0.2 * 80 * 60
        if len(ran) > before:
            assert 2.1 < pixel < 4.6
    # The margins are 0.05 to 0.3 of the person's size on each side.
    assert len(ran) > 5 and 1 / 1.7**2 < min(ran) < max(ran) < 1 / 1.05**2


@pytest.mark.parametrize("seed", range(4))
def test_motion_softens_the_outline_of_picture_and_matte_alike(seed):
    matte = np.zeros((200, 160), np.uint8)
    matte[60:140, 50:110] = 255
    colours = np.array([200, 40, 120]), np.array([20, 90, 230])
    image = np.where(matte[..., None] > 0, *colours).astype(np.uint8)
    moved, soft = coarse_alphas.in_motion(image, matte, np.random.default_rng(seed))
    assert (moved.dtype, soft.dtype) == (np.uint8, np.uint8)
    assert np.mean((soft > 10) & (soft < 245)) > 0.003
    assert soft.mean() == pytest.approx(matte.mean(), rel=0.02)
    alpha = soft[..., None] / 255
    expected = alpha * colours[0] + (1 - alpha) * colours[1]
    assert np.abs(moved - expected).max() < 4


def test_motion_blurs_the_background_half_of_the_time():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (200, 160, 3), np.uint8)
    matte = np.zeros((200, 160), np.uint8)
    matte[150:, 60:100] = 255
    kept = [
        (coarse_alphas.in_motion(image, matte, random)[0][:40] == image[:40]).all()
        for _ in range(20)
    ]
    assert 5 <= sum(kept) <= 15


def test_degraded_mattes_are_near_the_truth():
    matte = np.zeros((100, 90), np.float32)
    cv2.circle(matte, (45, 50), 30, 1.0, -1)
    changed = 0
    for seed in range(20):
        alpha = coarse_alphas.degraded(matte, np.random.default_rng(seed))
        assert alpha.dtype == np.float32 and alpha.min() >= 0 and alpha.max() <= 1
        changed += not np.array_equal(alpha, matte)
        assert ((alpha >= 0.5) != (matte >= 0.5)).mean() < 0.05
    assert changed > 15


def test_augmentation_turns_all_planes_together(folder):
    cut = refining.cut_tiles(find_pairs([folder], "training"), (64, 64), 12, [], seed=0)
    # The coarse alpha is the matte here, so that every turn is seen.
    images = np.concatenate([cut.images[..., :3], cut.mattes[..., None]], axis=3)
    turned, mattes = refining.augmented(images, cut.mattes, 7)
    assert np.array_equal(turned[..., 3], mattes)
    assert not np.array_equal(mattes, cut.mattes)
    bright = turned[..., :3].mean(axis=3)
    inside = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(bright, mattes, strict=True)]
    assert min(inside) > 0.9
    again, _ = refining.augmented(images, cut.mattes, 7)
    assert np.array_equal(again, turned)


def test_tiles_that_are_not_square_are_turned_by_half():
    _, mattes = tiny_portraits.draw(20, (64, 48))
    images = np.repeat(mattes[..., None], 5, axis=3)
    turned, learned = refining.augmented(images, mattes, 3)
    assert np.array_equal(turned[..., 4], learned)
    ways = [np.s_[:], np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]]
    found = [
        [np.array_equal(after, before[way]) for way in ways].index(True)
        for before, after in zip(mattes, learned, strict=True)
    ]
    assert set(found) >= {0, 1} and set(found) & {2, 3}


def test_mattes_keep_their_share_when_they_shrink():
    matte = np.zeros((120, 90), np.uint8)
    matte[30:90, 20:70] = 255
    alpha, pixel = coarse_alphas.random_coarse(
        np.zeros((120, 90, 3), np.uint8), matte, [], np.random.default_rng(3)
    )
    assert 1 <= pixel <= 4.5
    assert resize(alpha, (120, 90)).mean() == pytest.approx(matte.mean() / 255, rel=0.2)
