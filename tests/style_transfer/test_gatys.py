"""Tests Gatys' formulas against NumPy, and the optimizers."""

import sys

import numpy as np
import pytest
from style_networks import picture, random_vgg

from portrait.io.images import TooSmallError, read_image, write_png
from portrait.models import vgg16
from portrait.style_transfer import colour, gatys, gatys_loss
from portrait.style_transfer.vgg import extractor

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def small_loss():
    return gatys_loss.GatysLoss(picture(32, 32, 1), picture(48, 32, 2), random_vgg(), 2.0, 30.0)


def _matrices(image, layers):
    """F of formulas (1) to (3): for each layer a matrix of N filters by M positions."""
    seen = extractor(layers, random_vgg())(np.float32(image)[None])
    return {n: np.asarray(x, np.float64)[0].reshape(-1, x.shape[-1]).T for n, x in seen.items()}


def test_the_formulas_of_the_paper(small_loss):
    """With a painting as large as the photograph, literally; M is the same for both."""
    photo, painting, image = (picture(32, 32, seed) for seed in (1, 2, 3))
    loss = gatys_loss.GatysLoss(photo, painting, random_vgg(), 2.0, 30.0)
    total, terms, _ = loss(np.float32(image))
    of_image = _matrices(image, (*gatys_loss.STYLE_LAYERS, gatys_loss.CONTENT_LAYER))
    deep = (
        of_image[gatys_loss.CONTENT_LAYER]
        - _matrices(photo, [gatys_loss.CONTENT_LAYER])["block5_conv2"]
    )
    content = 0.5 * np.sum(deep**2)
    style = 0.0
    for layer, painted in _matrices(painting, gatys_loss.STYLE_LAYERS).items():
        f = of_image[layer]
        n, m = f.shape
        style += np.sum((f @ f.T - painted @ painted.T) ** 2) / (4 * n**2 * m**2) / 5
    assert terms["content"] == pytest.approx(content, rel=1e-3)
    assert terms["style"] == pytest.approx(style, rel=1e-3)
    assert total == pytest.approx(2 * content + 30 * style, rel=1e-3)


def test_the_gradient_is_the_slope(small_loss):
    image = np.float32(picture(32, 32, 3))
    _, _, gradient = small_loss(image)
    step = gradient / np.abs(gradient).max()
    # ReLU and pooling have kinks; a short step crosses few of them.
    rise = (small_loss(image + 0.1 * step)[0] - small_loss(image - 0.1 * step)[0]) / 0.2
    assert rise == pytest.approx(float(np.sum(gradient * step)), rel=0.01)


def test_content_vanishes_for_the_photo_and_style_for_the_painting():
    photo, painting = picture(32, 48, 1), picture(32, 48, 2)
    loss = gatys_loss.GatysLoss(photo, painting, random_vgg(), 1.0, 1.0)
    _, of_photo, _ = loss(np.float32(photo))
    _, of_painting, _ = loss(np.float32(painting))
    assert of_photo["content"] == 0 and of_painting["content"] > 0
    assert of_painting["style"] < 1e-6 * of_photo["style"]


def test_normalized_filters_have_a_mean_activation_of_1():
    pictures = [picture(48, 32, 1), picture(32, 32, 2)]
    weights = gatys_loss.normalize_weights(random_vgg(), pictures)
    model = extractor(vgg16.LAYERS, weights)
    seen = [model(np.float32(each)[None]) for each in pictures]
    for layer in vgg16.LAYERS:
        flat = [np.asarray(each[layer])[0].reshape(-1, each[layer].shape[-1]) for each in seen]
        means = np.concatenate(flat).mean(0)
        # Filters that are hardly excited keep less.
        assert means.max() == pytest.approx(1, rel=1e-3)
        assert np.median(means) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_both_optimizers_lower_the_total(optimizer, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # elsewhere there is no progress bar
    photo, painting, steps = picture(32, 32, 1), picture(32, 32, 2), []
    settings = gatys.Settings(iterations=8, optimizer=optimizer, start="noise", lr=10.0)

    def watch(iteration, terms, image):
        assert image.dtype == np.uint8 and image.shape == photo.shape
        steps.append(terms["content"] + 100 * photo.size / 3 * terms["style"])

    painted = gatys.paint(photo, painting, random_vgg(), settings, watch)
    assert painted.dtype == np.uint8 and painted.shape == photo.shape
    assert len(steps) == 8 and steps[-1] < 0.7 * steps[0]
    assert "style=" in capsys.readouterr().err


def test_luminance_keeps_the_photos_colours():
    photo = picture(32, 32, 1).copy()
    photo[..., 0] //= 2
    settings = gatys.Settings(iterations=3, colours="luminance")
    painted = np.float32(gatys.paint(photo, picture(32, 32, 2), random_vgg(), settings))
    inside = (painted.min(2) > 0) & (painted.max(2) < 255)  # where nothing was cut off
    difference = (painted - photo)[inside]
    assert inside.mean() > 0.5 and np.abs(difference).max() > 3
    # The same change of all three channels leaves both differences of colours; rounding is 1.
    np.testing.assert_allclose(difference - difference.mean(1, keepdims=True), 0, atol=1)


@pytest.fixture
def paint(monkeypatch):
    """Paints with a constant loss; returns the initial picture and the arguments."""

    class Flat:
        def __init__(self, photo, painting, weights, content_weight, style_weight):
            self.painting, self.factors = painting, (content_weight, style_weight)
            losses.append(self)

        def __call__(self, image):
            return 0.0, {"content": 0.0, "style": 0.0}, np.zeros_like(image)

    losses = []
    monkeypatch.setattr(gatys, "GatysLoss", Flat)

    def run(photo, painting, **settings):
        settings = gatys.Settings(iterations=1, **settings)
        return gatys.paint(photo, painting, random_vgg(), settings), losses.pop()

    return run


def test_noise_is_the_seed_s(paint):
    photo, painting = picture(32, 32, 1), picture(32, 32, 2)
    one, again, other = (paint(photo, painting, start="noise", seed=s)[0] for s in (1, 1, 2))
    assert np.array_equal(one, again) and (one != other).any() and (one != photo).any()
    assert np.array_equal(paint(photo, painting)[0], photo)


def test_histogram_gives_the_painting_the_photos_colours_first(paint):
    photo, painting = picture(32, 32, 1), picture(32, 32, 2) // 2
    _, loss = paint(photo, painting, colours="histogram")
    np.testing.assert_array_equal(loss.painting, colour.match_colours(painting, photo))
    _, loss = paint(photo, painting)
    np.testing.assert_array_equal(loss.painting, painting)


def test_luminance_does_not_depend_on_how_bright_the_painting_is(paint):
    photo, painting = picture(32, 32, 1), np.float32(picture(32, 32, 2))
    one, darker = (
        paint(photo, each, colours="luminance")[1].painting for each in (painting, painting / 2)
    )
    np.testing.assert_allclose(one, darker, atol=0.01)


def test_style_counts_for_each_pixel(paint):
    """One weight must suit small and large photographs."""
    _, loss = paint(picture(32, 40), picture(32, 32), content_weight=2.0, style_weight=3.0)
    assert loss.factors == (2.0, 3.0 * 32 * 40)


def test_a_photo_that_vgg16_would_halve_to_nothing():
    with pytest.raises(TooSmallError, match="40 x 15"):
        gatys.paint(picture(15, 40), picture(32, 32), random_vgg(), gatys.Settings(iterations=1))
    assert gatys.paint(
        picture(16, 40), picture(32, 32), random_vgg(), gatys.Settings(iterations=1)
    ).shape == (16, 40, 3)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A photograph and a painting, and VGG16 with random weights."""
    write_png(tmp_path / "photo.png", picture(40, 32, 1))
    write_png(tmp_path / "wave.png", picture(40, 32, 2))
    monkeypatch.setattr(vgg16, "conv_weights", lambda path: random_vgg())
    return tmp_path / "photo.png", tmp_path / "wave.png", tmp_path / "out"


def test_one_call_paints_files_and_leaves_pictures_on_the_way(files):
    photo, wave, output = files
    options = {"size": 20, "style_size": 16, "strength": 0.5}
    written = gatys.paint_by_gatys([photo], wave, output, iterations=4, save_every=2, **options)
    assert written == [output / "photo_wave_gatys.png"]
    assert read_image(written[0]).shape == (20, 16, 3)
    steps = sorted((output / "photo_wave_gatys").iterdir())
    assert [path.name for path in steps] == ["0002.png", "0004.png"]
    np.testing.assert_array_equal(read_image(steps[1]), read_image(written[0]))


@pytest.mark.parametrize("steps", [0, 3])
def test_ctrl_c_leaves_the_picture_as_far_as_it_came(files, monkeypatch, steps):
    def interrupted(photo, painting, weights, settings, watcher):
        for step in range(1, steps + 1):
            watcher(step, {}, np.full_like(photo, step))
        raise KeyboardInterrupt

    monkeypatch.setattr(gatys, "paint", interrupted)
    photo, wave, output = files
    target = output / "photo_wave_gatys.png"
    with pytest.raises(KeyboardInterrupt) as stop:
        gatys.paint_by_gatys([photo], wave, output)
    assert target.exists() == bool(steps) == (str(target) in str(stop.value))
    if steps:
        assert (read_image(target) == steps).all()


def test_strength_and_settings_reach_the_painting(files, monkeypatch):
    used = []

    def white(photo, painting, weights, settings, watcher):
        used.append((painting.shape, settings))
        return np.full_like(photo, 255)

    monkeypatch.setattr(gatys, "paint", white)
    photo, wave, output = files
    options = {"style_weight": 4.0, "optimizer": "adam", "start": "noise", "seed": 7}
    (path,) = gatys.paint_by_gatys([photo], wave, output, strength=0.5, style_size=20, **options)
    assert used == [((20, 16, 3), gatys.Settings(**options))]
    half = (picture(40, 32, 1) + 255.0) / 2
    np.testing.assert_allclose(read_image(path), half, atol=0.5)
