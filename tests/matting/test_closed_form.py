import numpy as np
import pytest

from portrait.data.sample.astronaut import matted_portrait, portrait_trimap
from portrait.matting.closed_form import closed_form_alpha


def test_closed_form_is_exact_for_two_plain_colours():
    """With constant F and B, I = F a + B (1 - a) is affine in a, so every a is recovered."""
    y, x = np.mgrid[:24, :32]
    alpha = np.clip((x - 10 + 2 * np.sin(y)) / 12, 0, 1)
    person, wall = np.array([0.9, 0.4, 0.1]), np.array([0.2, 0.5, 0.7])
    image = person * alpha[..., None] + wall * (1 - alpha[..., None])
    trimap = np.where((alpha > 0) & (alpha < 1), 0.5, alpha)
    # The regularisation, 1e-7 against colour variances near 1e-3, bounds the error.
    np.testing.assert_allclose(closed_form_alpha(image, trimap), alpha, atol=1e-3)


@pytest.mark.slow  # pymatting compiles for 40 s where it has never been imported
def test_closed_form_agrees_with_pymatting():
    from pymatting import estimate_alpha_cf

    photo = matted_portrait()[0] / 255.0
    trimap = portrait_trimap(photo.shape[:2])
    ours = closed_form_alpha(photo, trimap)
    # pymatting stops its iteration at 1e-7 of the residual, we solve directly.
    np.testing.assert_allclose(ours, estimate_alpha_cf(photo, trimap), atol=1e-4)
