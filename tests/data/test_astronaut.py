import numpy as np

from portrait.data.sample.astronaut import matted_portrait
from portrait.matting.foreground import blur_fusion_as_published


def test_foreground_is_the_image_inside_and_free_of_the_wall_at_the_rim():
    alpha = np.clip((np.arange(40) - 16) / 8, 0, 1) * np.ones((20, 1))
    person, wall = np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.1, 0.9])
    image = person * alpha[..., None] + wall * (1 - alpha[..., None])
    foreground = blur_fusion_as_published(image, alpha)
    np.testing.assert_allclose(foreground[alpha == 1], image[alpha == 1], atol=1e-9)
    rim = (alpha > 0.2) & (alpha < 1)
    # At alpha = 1/4 three quarters of the colour are the wall's; less than a sixth of it may stay.
    assert np.abs(foreground - person)[rim].max() < np.abs(image - person)[rim].max() / 6


def test_the_person_is_cut_from_wall_flag_and_shuttle():
    photo, colours, alpha = matted_portrait()
    assert photo.shape == colours.shape == (448, 512, 3)
    assert alpha.dtype == np.float32
    person = {"face": (226, 100), "ear": (178, 126), "collar": (140, 160), "helmet": (400, 400)}
    others = {"flag": (40, 200), "wall": (330, 100), "shuttle": (400, 200), "cloth": (450, 300)}
    assert {name: float(alpha[y, x]) for name, (x, y) in person.items()} == dict.fromkeys(person, 1)
    assert {name: float(alpha[y, x]) for name, (x, y) in others.items()} == dict.fromkeys(others, 0)
    np.testing.assert_array_equal(colours[alpha == 1], photo[alpha == 1])


def test_hair_is_softer_than_the_helmet():
    alpha = matted_portrait()[2]
    soft = (alpha > 0.05) & (alpha < 0.95)
    hair, helmet = soft[25:60, 150:205], soft[345:400, 430:490]
    assert hair.sum(axis=1).mean() > 3  # pixels of rim in a row
    assert 0 < helmet.sum(axis=1).mean() < 3
