"""Tests the losses of the transform network."""

import numpy as np
import pytest
from style_networks import picture, random_vgg

from portrait.style_transfer import perceptual


def test_gram_is_the_mean_product_of_channels():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = np.asarray(perceptual.gram(x))
    expected = np.einsum("nhwc,nhwd->ncd", x, x) / 12
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_relative_error_counts_from_the_target():
    target = np.float32([[3, 4], [1, 0]])
    values = np.float32([[0, 0], [1, 2]])
    np.testing.assert_allclose(
        np.asarray(perceptual.relative_error(values, target)), [1, 4], rtol=1e-5
    )


def test_total_variation_by_hand():
    image = np.zeros((1, 2, 2, 3), np.float32)
    image[0, 0, 0] = 255
    # Of two differences down, and of two to the right, one is 1.
    assert float(perceptual.total_variation(image)[0]) == pytest.approx(0.5 + 0.5)
    assert float(perceptual.total_variation(np.full_like(image, 9))[0]) == 0


def test_fit_painting_sets_the_longer_side():
    assert perceptual.fit_painting(picture(100, 50), 64).shape == (64, 32, 3)
    assert perceptual.fit_painting(picture(50, 100), 128).shape == (64, 128, 3)


def test_terms_vanish_where_their_targets_are_met(monkeypatch):
    monkeypatch.setattr(perceptual, "SCALES", (1.0,))  # no picture meets the mean of two sizes
    paintings = [picture(48, 48, seed) for seed in (1, 2)]
    loss = perceptual.PerceptualLoss(paintings, random_vgg(), perceptual.Weights(1, 1, 0))
    photos = np.stack([picture(48, 48, seed) for seed in (3, 4)]).astype(np.float32)
    mix = np.eye(2, dtype=np.float32)
    same = loss(photos, photos, mix)
    assert float(same["content"]) == 0 and float(same["variation"]) == 0
    painted = np.stack(paintings).astype(np.float32)
    met, missed = loss(photos, painted, mix), loss(photos, painted, mix[::-1])
    assert float(met["style"]) < 1e-8
    assert float(missed["style"]) > 100 * float(met["style"])
    assert float(met["content"]) > 0


def test_terms_count_as_the_weights_say():
    photos, painted = (picture(32, 32, seed)[None].astype(np.float32) for seed in (1, 2))

    def terms(*weights):
        weights = perceptual.Weights(*weights)
        loss = perceptual.PerceptualLoss([picture(32, 32, 3)], random_vgg(), weights)
        found = loss(photos, painted, np.float32([[1]]))
        return np.array([float(found[name]) for name in ("content", "style", "variation")])

    plain = terms(1, 1, 1)
    assert (plain > 0).all()
    np.testing.assert_allclose(terms(2, 3, 5), plain * (2, 3, 5), rtol=1e-5)


def test_a_style_of_two_is_halfway_between_their_correlations():
    paintings = [picture(32, 32, 1), np.full((32, 32, 3), 80, np.uint8)]
    one = perceptual.PerceptualLoss(paintings, random_vgg(), perceptual.Weights(0, 1, 0))
    image = picture(32, 32, 5)[None].astype(np.float32)
    layers = one._all(image)
    expected = 0.0
    for layer in perceptual.STYLE_LAYERS:
        sizes = [perceptual.fit_painting(p, size) for p in paintings for size in (32, 16)]
        grams = [np.asarray(perceptual.gram(one._all(np.float32(p)[None])[layer])) for p in sizes]
        target = np.mean(grams, 0)
        found = np.asarray(perceptual.gram(layers[layer]))
        expected += np.sum((found - target) ** 2) / np.sum(target**2) / 5
    style = float(one(image, image, np.float32([[0.5, 0.5]]))["style"])
    assert style == pytest.approx(expected, rel=1e-3)


def test_bfloat16_changes_the_losses_little():
    photos, painted = (picture(48, 48, seed)[None].astype(np.float32) for seed in (1, 2))
    weights = perceptual.Weights(1, 1, 1)
    full, half = (
        perceptual.PerceptualLoss([picture(48, 48, 3)], random_vgg(), weights, precision)(
            photos, painted, np.float32([[1]])
        )
        for precision in ("float32", "mixed_bfloat16")
    )
    for name, term in full.items():
        assert float(half[name]) == pytest.approx(float(term), rel=0.03)
    assert float(half["style"]) != float(full["style"])


def test_what_moves_with_the_photograph_is_stable():
    whole = np.stack([picture(48, 48, seed) for seed in (1, 2)]).astype(np.float32)
    first = whole[:, 4:36, 4:36]
    for down, right in ((0, 0), (3, -2), (-4, 4)):
        moved = whole[:, 4 + down : 36 + down, 4 + right : 36 + right]
        shift = np.int32([down, right])
        assert np.asarray(perceptual.instability(first, moved, shift, 4)) == pytest.approx(0)
        brighter = perceptual.instability(first, moved + 51, shift, 4)
        np.testing.assert_allclose(np.asarray(brighter), [0.04, 0.04], rtol=1e-5)
    still = perceptual.instability(first, first, np.int32([3, 0]), 4)
    assert (np.asarray(still) > 1e-3).all()
