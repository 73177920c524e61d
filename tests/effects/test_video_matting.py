"""Tests the alphas of a video's frames: who comes, who leaves, cuts, and the alpha before."""

import itertools

import cv2
import numpy as np
import pytest

from portrait.effects.matting import AUTO, REFINEMENTS, refinement
from portrait.effects.video_matting import VideoMatter
from portrait.errors import UserError
from portrait.inference.network import Network

WHITE_IS_PERSON = Network("test", (64, 48), lambda image: (image[..., 0] > 128).astype(np.float32))


@pytest.mark.parametrize("refine", [AUTO, *REFINEMENTS])
def test_frames_are_refined_as_photographs_are(refine):
    """Each refinement gets the coarse alpha, and gives another alpha than the default."""
    image = np.full((96, 128, 3), 60, np.uint8)
    cv2.circle(image, (70, 50), 30, (220, 200, 180), -1)
    matter = VideoMatter(WHITE_IS_PERSON, smooth=False, refine=refine)
    expected = refinement(refine, moving=True)(
        image, VideoMatter(WHITE_IS_PERSON, False).coarse(image).alpha
    )
    (alpha,) = matter.alphas([image])
    assert np.array_equal(alpha, expected)
    (guided,) = VideoMatter(WHITE_IS_PERSON, smooth=False).alphas([image])
    assert np.array_equal(alpha, guided) == (refine in ("guided", AUTO))


def test_an_unknown_refinement():
    with pytest.raises(UserError, match="--refine=fine"):
        VideoMatter(WHITE_IS_PERSON, refine="fine")


def test_who_left_is_not_remembered():
    image = np.full((256, 192, 3), 110, np.uint8)
    image[100:130, 90:115] = 140
    matter = VideoMatter(WHITE_IS_PERSON, smooth=False)
    assert matter.coarse(image).alpha[115, 100] > 0.9
    image[:] = 110
    assert not any(matter.coarse(image).alpha.any() for _ in range(3))


def test_who_comes_in_is_seen_within_15_frames():
    image = np.full((96, 256, 3), 110, np.uint8)
    image[20:90, 10:60] = 140
    matter = VideoMatter(WHITE_IS_PERSON, smooth=False)
    assert matter.coarse(image).alpha.any()
    image[20:90, 190:240] = 140
    alphas = [matter.coarse(image).alpha for _ in range(15)]
    assert not alphas[0][:, 180:].any()
    assert alphas[-1][60, 30] > 0.9 and alphas[-1][60, 215] > 0.9


def test_who_is_too_small_for_a_look_at_the_whole_is_not_lost():
    def run(image):
        red = (image[..., 0] > 225).astype(np.float32)
        return red if red.mean() > 0.05 else np.zeros_like(red)

    matter = VideoMatter(Network("needs size", (64, 48), run), smooth=False)
    near, far = np.full((2, 360, 640, 3), 190, np.uint8)
    near[20:, 200:400, 0] = far[200:, 270:330, 0] = 255
    assert matter.coarse(near).alpha.any()
    # Every 15th frame is looked at as a whole, too.
    assert all(matter.coarse(far).alpha[300, 300] > 0.9 for _ in range(20))


@pytest.mark.parametrize("smooth", [True, False])
def test_after_a_cut_everything_is_as_in_a_new_video(smooth):
    """Without a fresh start, the person would be searched in the old window, and smeared."""
    first, second = np.zeros((2, 144, 256, 3), np.uint8)
    first[40:, 10:90] = 255
    second[...] = (90, 40, 110)
    second[60:, 180:220] = 255
    both = list(VideoMatter(WHITE_IS_PERSON, smooth).alphas([first] * 4 + [second] * 3))
    for shot, alphas in ((first, both[:4]), (second, both[4:])):
        fresh = VideoMatter(WHITE_IS_PERSON, smooth).alphas([shot] * len(alphas))
        assert np.array_equal(alphas, list(fresh))
    assert both[-1][100, 200] > 0.9 and not both[-1][:, :150].any()


def test_alphas_come_in_order_and_late():
    """A smoothed alpha needs two later frames, one for each smoothing."""
    taken = []
    pictures = np.zeros((6, 144, 256, 3), np.uint8)
    for index, picture in enumerate(pictures):
        picture[40:, 60 + 10 * index : 130 + 10 * index] = 255
    lefts = []
    for alpha in VideoMatter(WHITE_IS_PERSON).alphas(taken.append(p) or p for p in pictures):
        lefts.append((len(taken), np.flatnonzero(alpha[100] > 0.5)[0]))
    assert [count for count, _ in lefts] == [3, 4, 5, 6, 6, 6]
    assert np.abs(np.array([left for _, left in lefts]) - np.arange(60, 120, 10)).max() <= 2


def test_a_window_does_not_make_people_of_the_background():
    """A network takes a lamp for a person, but only if the lamp fills the picture."""

    def run(image):
        red, green = image[..., 0] > 200, image[..., 1] > 200
        return (red | green if green.mean() > 0.2 else red).astype(np.float32)

    picture = np.full((360, 640, 3), 60, np.uint8)
    picture[60:, 150:330, 0] = 255
    picture[60:, 300:420, 1] = 255
    matter = VideoMatter(Network("lamp", (64, 48), run), smooth=False)
    alphas = [matter.coarse(picture).alpha for _ in range(20)]
    assert all(alpha[200, 200] > 0.9 for alpha in alphas)
    assert not any(alpha[:, 380:].any() for alpha in alphas)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("where", ["network", "refinement"])
def test_a_failure_comes_after_the_alphas_before_it(where, smooth):
    """Smoothing holds two frames back; they are not lost."""
    fails = itertools.count()

    def run(image):
        if where == "network" and image[0, 0, 2] > 128:
            raise UserError("broken")
        return WHITE_IS_PERSON.run(image)

    def refine(image, alpha):
        if where == "refinement" and next(fails) == 5:
            raise UserError("broken")
        return alpha

    pictures = np.zeros((8, 64, 48, 3), np.uint8)
    pictures[:, 20:, 10:40, 0] = 255
    pictures[5, ..., 2] = 255
    matter = VideoMatter(Network("fails", (64, 48), run), smooth, refine=refine)
    alphas = []
    with pytest.raises(UserError, match="broken"):
        alphas.extend(matter.alphas(pictures))
    assert len(alphas) == 5 and all(alpha[40, 20] > 0.9 for alpha in alphas)


class Watched:
    """A network for videos that takes white for people, and keeps the alphas before it gets."""

    def __init__(self):
        self.before = []
        self.network = Network("watched", (64, 48), self._run, takes_previous=True)

    def _run(self, image):
        self.before.append(image[..., 3].mean() / 255 if image.shape[2] == 4 else None)
        return WHITE_IS_PERSON.run(image)


def test_the_alpha_before_is_given_back_and_forgotten_at_a_cut():
    """The person fills a share of the window that does not change while the person moves."""
    watched, pictures = Watched(), np.full((24, 144, 256, 3), 30, np.uint8)
    for index, picture in enumerate(pictures[:20]):
        picture[40:, 60 + 4 * index : 130 + 4 * index] = 255
    pictures[20:, 70:, 20:60], pictures[20:, :20] = 255, 120
    matter = VideoMatter(watched.network, smooth=False)
    alphas = [matter.coarse(picture).alpha for picture in pictures]
    # The first frame and the first after the cut have a look at the whole and one without a past;
    # the 16th has another look at the whole.
    none = [index for index, share in enumerate(watched.before) if share is None]
    assert none == [0, 1, 16, 22, 23]
    shares = [share for share in watched.before if share is not None]
    assert len(shares) == 19 + 3 and min(shares) > 0.2
    # A moved window shows the alpha before moved likewise: at most 4 pixels of about 70 differ.
    assert np.ptp(shares[:14]) < 0.12
    assert alphas[-1][100, 40] > 0.9 and not alphas[-1][:, 130:].any()


def test_who_was_lost_leaves_no_alpha_before():
    watched = Watched()
    image = np.full((144, 256, 3), 110, np.uint8)
    image[40:, 60:130] = 140
    matter = VideoMatter(watched.network, smooth=False)
    assert matter.coarse(image).alpha.any() and matter.coarse(image).alpha.any()
    image[:] = 110
    assert not matter.coarse(image).alpha.any()
    del watched.before[:]
    image[40:, 60:130] = 140
    assert matter.coarse(image).alpha.any()
    # The person is found in the whole picture. In the window, there was nobody before.
    assert watched.before == [None, 0]
