"""Tests face detection, the face's frame, and PortraitFCN+."""

import cv2
import keras
import numpy as np
import pytest
from skimage import data

from data_generator import PortraitSequence
from portrait.io.images import resize
from portrait.models.baselines import faces, portrait_fcn

# Eileen Collins' face in scikit-image's picture of 512 x 512, by eye: centre and size in pixels.
CENTRE, FACE = np.array([222, 112]), 110


def centre_of(box):
    left, top, width, height = box
    return np.array([left + width / 2, top + height / 2]) * 512


@pytest.mark.parametrize("size", [(512, 512), (256, 192), (128, 96)])
def test_a_face_is_found_at_any_size_and_squeezed(size):
    box = faces.find_face(resize(data.astronaut(), size))
    assert np.abs(centre_of(box) - CENTRE).max() < 20
    assert 0.6 * FACE < box[2] * 512 < 1.6 * FACE and 0.6 * FACE < box[3] * 512 < 1.6 * FACE


def test_boxes_of_a_batch_and_the_centred_frame():
    images = np.stack([resize(data.astronaut(), (128, 96)), np.zeros((128, 96, 3), np.uint8)])
    boxes, found = faces.find_faces(images.astype(np.float32))
    assert boxes.dtype == np.float32 and boxes.shape == (2, 4)
    assert found.tolist() == [True, False]
    assert boxes[1] == pytest.approx(faces.CENTRED)
    assert centre_of(faces.CENTRED)[0] == 256


def test_the_frame_by_hand():
    """A box from 1/4 to 3/4 of a picture of 8 x 8: its centre is 4, its size 4 pixels."""
    layer = portrait_fcn.FaceFrame((8, 8))
    shape = np.tile(np.linspace(0, 1, faces.GRID[1], dtype=np.float32), (faces.GRID[0], 1))
    layer.mean_shape.assign(shape)
    maps = np.asarray(layer(np.float32([[0.25, 0.25, 0.5, 0.5]])))
    assert maps.shape == (1, 8, 8, 3)
    places = (np.arange(8) + 0.5 - 4) / 4
    assert maps[0, :, :, 0] == pytest.approx(np.tile(50 * places, (8, 1)), abs=1e-4)
    assert maps[0, :, :, 1] == pytest.approx(np.tile(50 * places[:, None], (1, 8)), abs=1e-4)
    # The mean portrait here is a ramp over 80 points, 16 a unit, from 0 at x = -2.5.
    ramp = 200 * (places + 2.5) * 16 / 79 - 100
    assert maps[0, :, :, 2] == pytest.approx(np.tile(ramp, (8, 1)), abs=1e-3)


def test_beyond_the_frame_its_border_goes_on():
    layer = portrait_fcn.FaceFrame((64, 64))
    layer.mean_shape.assign(np.pad(np.zeros((94, 78)), 1, constant_values=1.0))
    maps = np.asarray(layer(np.float32([[0.45, 0.45, 0.1, 0.1]])))[0]
    assert maps[0, 0].tolist() == [-125, -100, 100] and maps[-1, -1].tolist() == [125, 200, 100]


def test_a_portrait_lies_where_it_was():
    """The mean of one portrait without a face, laid over the centred box again, is its matte."""
    matte = np.zeros((512, 384), np.uint8)
    matte[240:400, 120:264] = 255
    layer = portrait_fcn.FaceFrame(matte.shape)
    layer.mean_shape.assign(faces.mean_shape(np.zeros((1, 512, 384, 3), np.uint8), matte[None]))
    laid = (np.asarray(layer(np.float32([faces.CENTRED])))[0, :, :, 2] + 100) / 200
    _, _, width, height = faces.CENTRED
    rows, columns = laid[:, 192] > 0.5, laid[320] > 0.5
    for seen, (start, end), size in (
        (rows, (240, 400), height * 512),
        (columns, (120, 264), width * 384),
    ):
        places = np.flatnonzero(seen)
        within = size / faces.PER_UNIT / 2 + 1  # half the distance of the grid's points
        assert places[0] == pytest.approx(start, abs=within)
        assert places[-1] + 1 == pytest.approx(end, abs=within)


def test_the_mean_of_one_portrait_is_its_own_matte_in_the_frame():
    """If the layer aligns the mean portrait with the same face again, it equals the matte."""
    image = resize(data.astronaut(), (256, 256))
    matte = np.zeros((256, 256), np.uint8)
    cv2.ellipse(matte, (111, 65), (45, 60), 0, 0, 360, 255, -1)
    cv2.rectangle(matte, (50, 120), (200, 255), 255, -1)
    mean = faces.mean_shape(image[None], matte[None])
    assert (mean.dtype, mean.shape) == (np.float32, faces.GRID)
    assert mean.min() >= 0 and mean.max() <= 1
    layer = portrait_fcn.FaceFrame((256, 256))
    layer.mean_shape.assign(mean)
    laid = (np.asarray(layer(faces.find_faces(image[None])[0]))[0, :, :, 2] + 100) / 200
    # The grid's points are 3 to 4 pixels apart.
    inner = cv2.erode(matte, np.ones((11, 11))) > 0
    outer = cv2.dilate(matte, np.ones((11, 11))) == 0
    # Within 2.5 widths and 4 heights of the face.
    near = np.s_[:, :240]
    assert laid[near][inner[near]].min() > 0.9 and laid[near][outer[near]].max() < 0.1


def test_portraits_without_faces_have_a_mean_too():
    images = np.zeros((3, 64, 48, 3), np.uint8)
    assert faces.mean_shape(images, np.full((3, 64, 48), 255, np.uint8)).min() == 1


class _Batches(keras.utils.PyDataset):
    """A batch of two pictures from data_generator.PortraitSequence."""

    def __init__(self):
        super().__init__()
        self.images = np.stack(
            [resize(data.astronaut(), (96, 64)), np.zeros((96, 64, 3), np.uint8)]
        )
        self.mattes = np.zeros((2, 96, 64), np.uint8)
        self.mattes[:, 40:] = 255

    def __len__(self):
        return 1

    def __getitem__(self, index):
        target = self.mattes[..., None] / np.float32(255)
        return self.images.astype(np.float32), {"output": target, "boundary_attention": target}


def test_sample_weights_stay_with_their_batch():
    """Those of a validation on two devices: one of four pictures is a repeated one."""
    images = np.zeros((3, 32, 32, 3), np.uint8)
    batches = PortraitSequence(images, images[..., 0], 4, multiple=2)
    inputs, _, weights = faces.WithFaces(batches)[0]
    assert len(inputs["face"]) == 4
    assert sorted(weights) == pytest.approx([0, 4 / 3, 4 / 3, 4 / 3])


def test_the_network_finds_the_faces_of_its_pictures(caplog):
    """A network of PortraitFCN+'s class that shows its face frame trains on pictures alone."""
    inputs = {
        "image": keras.Input((96, 64, 3), name="image"),
        "face": keras.Input((4,), name="face"),
    }
    frame = portrait_fcn.FaceFrame((96, 64), name="face_frame")(inputs["face"])
    maps = keras.layers.Concatenate()([inputs["image"], frame])
    outputs = {
        name: keras.layers.Conv2D(1, 1, activation="sigmoid", name=name)(maps)
        for name in ("output", "boundary_attention")
    }
    model = portrait_fcn.PortraitFCNPlus(inputs, outputs)
    assert model.input_shape == (None, 96, 64, 3)
    model.compile("sgd", loss=dict.fromkeys(outputs, "mse"), run_eagerly=True)
    batches = _Batches()
    with caplog.at_level("INFO"):
        model.fit(batches, validation_data=batches, epochs=1, verbose=0)
        mean = np.array(model.get_layer("face_frame").mean_shape)
        assert mean.any() and "1 of 2" in caplog.text
        found = model.predict_on_batch(batches[0][0])
        model.predict_on_batch(batches[0][0])
        assert caplog.text.count("no face was found") == 1
    boxes = faces.find_faces(batches.images)[0]
    expected = model({"image": batches[0][0], "face": boxes}, training=False)
    assert found["output"] == pytest.approx(np.asarray(expected["output"]), abs=1e-6)
    batches.mattes[:] = 0
    model.fit(batches, epochs=1, verbose=0)
    assert np.array_equal(np.array(model.get_layer("face_frame").mean_shape), mean)
