"""Tests single effects and sequences of effects on a picture of two plain colours."""

import dataclasses
import re

import numpy as np
import pytest
import tiny_clips

from portrait.effects import backgrounds
from portrait.effects.catalogue import CHANGES, NAMES, Effects, Settings, check, render
from portrait.effects.styles import Style
from portrait.errors import UserError
from portrait.matting.foreground import blur_fusion

SETTINGS = Settings(
    background=lambda time: (10, round(100 * time), 30),
    style=lambda picture: 255 - picture,
    estimate=blur_fusion,
)


@pytest.fixture
def picture():
    """An orange person before a blue wall, with a soft edge."""
    alpha = np.zeros((40, 60), np.float32)
    alpha[10:, 20:40], alpha[10:, 18:20], alpha[10:, 40:42] = 1, 0.5, 0.5
    image = alpha[..., None] * np.float32((240, 120, 0)) + (1 - alpha[..., None]) * (20, 60, 200)
    return np.rint(image).astype(np.uint8), alpha


def colours(result):
    """The pixels at the middle of the person and in a corner of the wall."""
    return result[30, 30].tolist(), result[2, 2].tolist()


@pytest.mark.parametrize(
    ("effects", "person", "wall"),
    [
        (["blur"], [240, 120, 0], [20, 60, 200]),
        (["replace"], [240, 120, 0], [10, 50, 30]),
        (["green_screen"], [240, 120, 0], [0, 177, 64]),
        (["grayscale_background"], [240, 120, 0], [64, 64, 64]),
        (["stylize_person"], [15, 135, 255], [20, 60, 200]),
        (["stylize_background"], [240, 120, 0], [235, 195, 55]),
        (["replace", "stylize_person"], [15, 135, 255], [10, 50, 30]),
        (["replace", "stylize_background"], [240, 120, 0], [245, 205, 225]),
        (["grayscale_background", "blur"], [240, 120, 0], [64, 64, 64]),
    ],
)
@pytest.mark.parametrize("linear", [False, True])
def test_layers(picture, effects, person, wall, linear):
    result = render(*picture, effects, dataclasses.replace(SETTINGS, linear=linear), time=0.5)
    assert (result.dtype, result.shape) == (np.uint8, (40, 60, 3))
    found = colours(result)
    assert np.abs(np.subtract(found[0], person)).max() <= 1
    assert np.abs(np.subtract(found[1], wall)).max() <= 1


def test_no_change_gives_the_picture(picture):
    assert np.array_equal(render(*picture, ["side_by_side"], SETTINGS)[:, 60:], picture[0])


def test_alpha_and_cutout(picture):
    image, alpha = picture
    levels = np.rint(alpha * 255).astype(np.uint8)
    assert np.array_equal(render(image, alpha, ["alpha"]), levels)
    cutout = render(image, alpha, ["cutout"], SETTINGS)
    assert np.array_equal(cutout[..., 3], levels)
    # At the soft edge the wall's blue is gone.
    edge = np.abs(cutout[15:, 19, :3].astype(int) - (240, 120, 0))
    assert edge.max() < np.abs(image[15:, 19].astype(int) - (240, 120, 0)).max() / 3
    painted = render(image, alpha, ["stylize_person", "cutout"], SETTINGS)
    assert painted[30, 30].tolist() == [15, 135, 255, 255]
    # The person is painted together with the background, so its change is not hidden.
    check(["grayscale_background", "stylize_person", "cutout"], SETTINGS)


def test_in_videos_each_painted_layer_remembers_its_own(picture):
    class Frames:
        def __init__(self):
            self.before = None

        def __call__(self, shown):
            before, self.before = self.before, shown
            return shown if before is None else before

    style = Style(lambda shown: shown, Frames)
    names = ["stylize_background", "stylize_person"]
    render_frame = Effects(names, dataclasses.replace(SETTINGS, style=style)).for_video()
    image, alpha = picture
    for frame in (image, 255 - image):
        result = render_frame(frame, alpha)
        assert colours(result) == ([240, 120, 0], [20, 60, 200])


@pytest.mark.parametrize("feather", [0, 6])
def test_a_painted_person_is_cut_out_and_laid_over_the_picture(picture, feather):
    image, alpha = picture
    settings = dataclasses.replace(SETTINGS, feather=feather)
    share = settings.outlined(alpha)[..., None]
    expected = share * (255 - np.float32(image)) + (1 - share) * image
    result = render(image, alpha, ["stylize_person"], settings)
    assert np.abs(result - expected).max() <= 0.51  # rounding


def test_the_foreground_and_the_alpha_give_the_picture_again(picture):
    image, alpha = picture
    foreground = render(image, alpha, ["foreground"], SETTINGS)
    assert foreground.shape == image.shape
    assert foreground[30, 30].tolist() == [240, 120, 0] and not foreground[2, 2].any()
    mixed = alpha[..., None] * foreground + (1 - alpha[..., None]) * np.float32((20, 60, 200))
    # At the soft edge the wall's blue is gone from the foreground, and comes back when mixed.
    assert foreground[15:, 19, 2].max() < 70 < 95 < image[15:, 19, 2].min()
    assert np.abs(mixed - image)[15:].mean() < 2


def test_side_by_side(picture):
    image, alpha = picture
    both = render(image, alpha, ["replace", "side_by_side"], SETTINGS)
    assert np.array_equal(both[:, :60], image)
    assert np.array_equal(both[:, 60:], render(image, alpha, ["replace"], SETTINGS))
    assert render(image, alpha, ["alpha", "side_by_side"]).shape == (40, 120, 3)
    assert (render(image, alpha, ["cutout", "side_by_side"], SETTINGS)[:, :60, 3] == 255).all()


@pytest.mark.parametrize(
    ("effects", "settings", "message"),
    [
        (["sparkle"], SETTINGS, "alpha, cutout, foreground"),
        ([], SETTINGS, "alpha, cutout, foreground"),
        (["cutout", "blur"], SETTINGS, "cutout"),
        (["alpha", "cutout"], SETTINGS, "alpha"),
        (["side_by_side", "alpha"], SETTINGS, "alpha"),
        (["blur", "replace"], SETTINGS, "put blur after it"),
        (["stylize_background", "blur", "green_screen"], SETTINGS, "put stylize_background"),
        (["replace", "green_screen"], SETTINGS, "green_screen covers what replace"),
        (["grayscale_background", "cutout"], SETTINGS, "not show what grayscale_background"),
        (["replace", "foreground", "side_by_side"], SETTINGS, "not show what replace"),
        (["stylize_person", "blur", "cutout"], SETTINGS, "not show what blur"),
        (["stylize_person", "alpha"], SETTINGS, "not show what stylize_person"),
        (["replace", "alpha"], dataclasses.replace(SETTINGS, match=1), "not show what replace"),
        (["replace"], Settings(), "--background"),
        (["stylize_person"], Settings(), "--style: udnie, great_wave"),
        (["blur"], Settings(strength=1.5), "--strength"),
        (["blur"], Settings(aperture="star"), "--aperture"),
        (["blur"], Settings(depth="hills"), "--depth"),
        (["replace"], dataclasses.replace(SETTINGS, match=2), "--match"),
        (["cutout"], Settings(despill=-1), "--despill"),
        (["cutout"], Settings(choke=1000), "--choke"),
        (["cutout"], Settings(feather=-1), "--feather"),
    ],
)
def test_what_cannot_be_done(effects, settings, message):
    with pytest.raises(UserError, match=message):
        check(effects, settings)


@pytest.mark.parametrize("name", NAMES)
def test_every_effect_can_be_had_alone(name):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    alpha = np.zeros((40, 60), np.float32)
    alpha[10:, 20:40] = 1
    result = render(image, alpha, [name], SETTINGS)
    shapes = {"alpha": (40, 60), "cutout": (40, 60, 4), "side_by_side": (40, 120, 3)}
    assert (result.dtype, result.shape) == (np.uint8, shapes.get(name, (40, 60, 3)))
    if name in CHANGES:
        changed = (result != image).any(axis=2)
        person = name == "stylize_person"
        assert changed[alpha == person].mean() > 0.95 and not changed[alpha != person].any()


def test_choke_and_feather_change_the_outline_of_every_effect(picture):
    image, alpha = picture
    for changed in (Settings(choke=2), Settings(feather=3), Settings(choke=-1.5)):
        expected = changed.outlined(alpha)
        assert not np.array_equal(expected, alpha)
        levels = np.rint(expected * 255).astype(np.uint8)
        assert np.array_equal(render(image, alpha, ["alpha"], changed), levels)
        assert np.array_equal(render(image, alpha, ["cutout"], changed)[..., 3], levels)
        keyed = render(image, alpha, ["green_screen"], changed)
        assert (keyed[expected == 0] == (0, 177, 64)).all()


def test_a_person_takes_the_light_of_the_new_background_where_it_is_wanted(picture):
    dark = dataclasses.replace(SETTINGS, background=lambda time: (10, 8, 4))
    person = [
        render(*picture, ["replace"], dataclasses.replace(dark, match=share))[30, 30].astype(int)
        for share in (0.0, 0.5, 1.0)
    ]
    assert person[0].tolist() == [240, 120, 0]
    assert person[0].sum() > person[1].sum() > person[2].sum()
    settings = dataclasses.replace(dark, match=1.0)
    cutout = render(*picture, ["replace", "cutout"], settings)  # shows the change of the person
    assert np.array_equal(cutout[30, 30, :3], person[2])


def test_despill_takes_the_green_of_a_screen_off():
    alpha = np.zeros((40, 60), np.float32)
    alpha[10:, 20:40] = 1
    image = np.where(alpha[..., None] > 0, np.uint8([150, 190, 130]), np.uint8([0, 180, 60]))
    for effect in ("cutout", "green_screen", "foreground"):
        clean = render(image, alpha, [effect], Settings(despill=1, estimate=as_it_is))
        assert clean[30, 30, :3].tolist() == [150, 140, 130]
    half = render(image, alpha, ["cutout"], Settings(despill=0.5, estimate=as_it_is))
    assert half[30, 30, :3].tolist() == [150, 165, 130]


def as_it_is(image, alpha):
    """Replaces the estimate of colours: both layers keep the colours of the picture."""
    return image, image


def test_strength_is_how_far_a_background_is_blurred():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    alpha = np.zeros((60, 80), np.float32)
    alpha[20:, 30:50] = 1
    none, little, much = (
        render(image, alpha, ["blur"], Settings(strength=strength, estimate=as_it_is))[:, :20].std()
        for strength in (0.0, 0.25, 1.0)
    )
    assert none == image[:, :20].std()
    assert much < 0.7 * little < 0.7 * none


@pytest.mark.parametrize(("linear", "level"), [(True, 188), (False, 128)])
def test_layers_mix_in_linear_light_where_it_is_wanted(linear, level):
    """Half of the light of white is sRGB level 188."""
    white, half = np.full((4, 4, 3), 255, np.uint8), np.full((4, 4), 0.5, np.float32)
    settings = Settings(background=lambda time: (0, 0, 0), linear=linear, estimate=as_it_is)
    assert np.abs(render(white, half, ["replace"], settings).astype(int) - level).max() <= 1


def test_a_video_behind_runs_along_and_over_again(tmp_path):
    pictures = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (40, 120, 200)])
    behind = backgrounds.load(str(tiny_clips.write(tmp_path / "behind.mp4", pictures)))
    times = (0.0, 0.03, 0.05, 0.09, 0.13, 0.17, 0.21)  # 25 frames a second
    found = [round(behind(time).mean() / 40) * 40 for time in times]
    assert found == [40, 40, 120, 200, 40, 120, 200]
    assert round(behind(0.05).mean() / 40) * 40 == 120  # the next video starts it again


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("rgb(300, 0, 20)", (255, 0, 20)),
        ("hsl(120.5,100%,50%)", (0, 255, 2)),
    ],
)
def test_colours_in_words(text, colour):
    assert tuple(backgrounds.load(text)(0.0)) == colour


@pytest.mark.parametrize("text", ["whitish", "rgb(1.5,x,2)", "gone.png"])
def test_what_is_no_background(text):
    with pytest.raises(UserError, match=re.escape(text)):
        backgrounds.load(text)
