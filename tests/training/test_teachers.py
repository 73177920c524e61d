"""Tests teachers: their alphas become part of the training targets only."""

import numpy as np
import pytest
import tiny_portraits
import tiny_spec
import tiny_tflite
from batches import same

from data_generator import PortraitSequence
from portrait.commands.train import train
from portrait.data.workers import AVAILABLE
from portrait.errors import UserError
from portrait.inference.network import shipped_files
from portrait.models.weights import SHIPPED
from portrait.training.teachers import Teachers

IMAGES = np.zeros((2, 8, 6, 3), np.uint8)
MATTES = np.zeros((2, 8, 6), np.uint8)
MATTES[0, :4] = 255


@pytest.fixture
def teacher(tmp_path):
    """Writes a `.tflite` file that returns a fixed alpha for every picture; returns its path."""

    def make(alpha) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tflite"
        path.write_bytes(tiny_tflite.convolution((8, 6), (0, 0, 0), plus=alpha))
        return str(path)

    return make


@pytest.fixture
def left(teacher):
    """A network that finds a person on the left of every picture."""
    return teacher(np.repeat([1.0, 0.0], 3)[:, np.newaxis])


def test_the_share_is_the_teachers_and_the_rest_the_label_s(left):
    learned = Teachers([left], share=0.4)(IMAGES, MATTES)
    assert learned.dtype == np.uint8
    assert learned.shape == MATTES.shape
    # The label has the upper half, the teacher the left half.
    label, both, teacher = round(255 * 0.6), 255, round(255 * 0.4)
    rows = [[both] * 3 + [label] * 3] * 4 + [[teacher] * 3 + [0] * 3] * 4
    assert learned[0].tolist() == rows
    assert np.array_equal(Teachers([left], share=0)(IMAGES, MATTES), MATTES)
    alone = Teachers([left], share=1)(IMAGES, MATTES)
    assert alone[..., :3].min() == 255
    assert alone[..., 3:].max() == 0


def test_a_teacher_named_twice_counts_twice(teacher):
    person, nobody = teacher(1.0), teacher(0.0)
    assert np.allclose(Teachers([person, nobody, person]).alpha(IMAGES[0]), 2 / 3)


def test_alphas_lie_over_what_the_teacher_finds(tmp_path):
    """The alpha of a network that finds bright areas lies over these areas."""
    (tmp_path / "red.tflite").write_bytes(tiny_tflite.convolution((8, 6)))
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    alpha = Teachers([str(tmp_path / "red.tflite")]).alpha(image)
    assert np.allclose(alpha, image[..., 0] / 255, atol=1e-6)


def test_a_share_beyond_the_whole_is_refused(left):
    with pytest.raises(UserError, match=r"1\.5"):
        Teachers([left], share=1.5)


def test_weights_do_not_teach():
    """Keras networks cannot run in the processes that augment."""
    with pytest.raises(UserError, match="fast_scnn"):
        Teachers([str(SHIPPED / "fast_scnn")])


def augment(images, mattes, seed):
    return np.full_like(images, 100), np.roll(mattes, 2, axis=1)


def test_teachers_see_augmented_pictures_and_bands_are_the_labels():
    seen = []

    def teach(images, mattes):
        seen.append(images)
        return mattes // 2

    taught, plain = (
        PortraitSequence(IMAGES, MATTES, 2, augmentation=augment, teachers=each)[0]
        for each in (teach, None)
    )
    assert (seen[0] == 100).all()
    assert np.array_equal(taught[0], plain[0])
    bands = (batch[1]["boundary_attention"] for batch in (taught, plain))
    assert np.array_equal(*bands)
    assert taught[1]["output"].max() == pytest.approx(127 / 255)
    assert plain[1]["output"].max() == 1


def test_workers_and_the_caller_teach_alike():
    """The interpreters are created before the workers are forked."""
    file = str(shipped_files()["fast_scnn"])
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 48, 3), dtype=np.uint8)
    mattes = np.zeros((4, 64, 48), np.uint8)
    here = []

    class Noted(Teachers):
        def __call__(self, images, mattes):
            here.append(len(images))  # of this process: what workers note is lost with them
            return super().__call__(images, mattes)

    one, other = (
        PortraitSequence(images, mattes, 2, teachers=Noted([file]), workers=count)
        for count in (0, 2)
    )
    try:
        helped = [other[index] for index in range(2)]
        assert not here or not AVAILABLE
        for index in range(2):
            assert same(one[index], helped[index])
    finally:
        other.close()


@pytest.fixture
def data(tmp_path, monkeypatch):
    tiny_spec.register(monkeypatch)
    return tiny_portraits.write(tmp_path / "data", 8, (64, 32))


@pytest.mark.parametrize("model", ["nobody.tflite", "nobody"])
def test_a_teacher_that_is_not_there_is_named_and_no_run_begins(data, tmp_path, model):
    with pytest.raises(UserError, match=model):
        train("tiny", data=[data], checkpoint_path=tmp_path / "runs", teachers=[model])
    assert not (tmp_path / "runs").exists()
