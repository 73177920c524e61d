"""Tests matching the light of a new background, and removing the spill of the old one."""

import numpy as np
import pytest

from portrait.effects.light import despill, match_light
from portrait.matting.compositing import to_linear, to_srgb

ALPHA = np.zeros((40, 60), np.float32)
ALPHA[10:, 20:40] = 1


def wall(seed, light=(1, 1, 1)):
    """A textured wall in linear light under a given illumination."""
    grey = np.random.default_rng(seed).uniform(0.05, 0.4, (40, 60, 1)).astype(np.float32)
    return grey * np.float32(light)


def plain(colour):
    return np.full((40, 60, 3), colour, np.float32)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_half_of_the_light_halves_the_person(share):
    skin = plain((0.5, 0.35, 0.25))
    dimmed = match_light(skin, wall(0), wall(1, (0.55, 0.55, 0.55)), ALPHA, share)
    assert dimmed / skin == pytest.approx(0.55**share, rel=0.05)


def test_warm_light_makes_warm():
    skin = plain((0.5, 0.35, 0.25))
    warm = match_light(skin, wall(0), wall(1, (1.2, 1, 0.8)), ALPHA, 1.0) / skin
    assert warm[0, 0, 0] / warm[0, 0, 2] == pytest.approx(1.5, rel=0.05)
    # And the same light changes nothing.
    same = match_light(skin, wall(0, (1.2, 1, 0.8)), wall(1, (1.2, 1, 0.8)), ALPHA, 1.0)
    assert same == pytest.approx(skin, rel=0.05)


def test_there_are_limits():
    grey = plain(0.2)
    assert match_light(grey, wall(0), plain(0.0), ALPHA, 1.0).min() >= 0.2 / 2 / 1.5 - 1e-6
    red = match_light(grey, wall(0), plain((0.4, 0, 0)), ALPHA, 1.0)
    assert red.max() / red.min() <= 1.5**2 + 1e-4


def test_8_bits_give_the_same():
    skin = plain((0.5, 0.35, 0.25))
    old, new = wall(0), wall(1, (0.6, 0.5, 0.4))
    levels = match_light(to_srgb(skin), to_srgb(old), to_srgb(new), ALPHA, 1.0)
    assert levels.dtype == np.uint8
    assert to_linear(levels) == pytest.approx(match_light(skin, old, new, ALPHA, 1.0), abs=0.01)


def test_without_a_visible_wall_nothing_changes():
    skin, everywhere = plain(0.3), np.ones_like(ALPHA)
    assert match_light(skin, wall(0), plain(0.9), everywhere, 1.0) is skin
    assert despill(skin, plain((0, 0.6, 0)), everywhere, 1.0) is skin


@pytest.mark.parametrize(("channel", "screen"), [(1, (10, 190, 60)), (2, (20, 40, 200))])
def test_the_colour_of_the_screen_is_limited_to_the_others(channel, screen):
    random = np.random.default_rng(0)
    person = random.integers(0, 256, (40, 60, 3), np.uint8)
    back = np.full_like(person, screen)
    clean = despill(person, back, ALPHA, 1.0)
    others = [each for each in range(3) if each != channel]
    assert np.array_equal(clean[..., others], person[..., others])
    limit = person[..., others].mean(axis=2)
    assert (clean[..., channel] <= limit + 0.5).all()
    below = person[..., channel] <= limit
    assert np.array_equal(clean[below], person[below])


def test_grey_walls_do_not_spill():
    person = np.full((40, 60, 3), (90, 200, 80), np.uint8)
    assert despill(person, np.full_like(person, (120, 128, 118)), ALPHA, 1.0) is person
