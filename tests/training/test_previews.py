"""Tests sheets and curves: the position of each picture."""

import numpy as np
import pytest
from PIL import ImageFont

from portrait.io.sheets import GREEN, PAPER, before_green, fitted, grid, shortened
from portrait.training.previews import curves, data_sheet, matte_sheet


def plain(level, size=(10, 8)):
    return np.full((*size, 3), level, np.uint8)


def cells(sheet, size, columns):
    """The pictures of a sheet, row by row; the gap of 4 and the head of 24 are the module's."""
    height, width = size
    rows = (sheet.shape[0] - 24 - 4) // (height + 4)
    assert sheet.shape == (24 + 4 + rows * (height + 4), 4 + columns * (width + 4), 3)
    return [
        [
            sheet[24 + r * (height + 4) :, 4 + c * (width + 4) :][:height, :width]
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def test_grid_of_pictures_and_mattes():
    matte = np.linspace(-0.5, 1.5, 80, dtype=np.float32).reshape(10, 8)
    sheet = grid([(plain(10), matte), (plain(20), matte > 0.5)], ("image", "matte"))
    (first, grey), (second, mask) = cells(sheet, (10, 8), 2)
    assert (first == 10).all() and (second == 20).all()
    assert np.abs(grey.astype(float) - 255 * matte.clip(0, 1)[..., None]).max() <= 0.5
    assert np.array_equal(mask[..., 0], np.where(matte > 0.5, 255, 0))
    head = sheet[:24]
    assert (head[:, :4] == PAPER).all() and (head != PAPER).any()


@pytest.mark.parametrize(
    ("size", "place"),
    [((40, 20), np.s_[:10, 1:6]), ((8, 32), np.s_[:2, :8]), ((5, 4), np.s_[:10, :])],
)
def test_a_fitted_picture_is_whole_and_in_shape(size, place):
    cell = fitted(np.ones(size), (10, 8))
    white = np.zeros((10, 8), bool)
    white[place] = True
    assert np.array_equal((cell == 255).all(axis=2), white)
    assert (cell[~white] == PAPER).all()


def test_rows_stand_side_by_side():
    rows = [(plain(i), plain(100 + i)) for i in range(5)]
    found = cells(grid(rows, ("a", "b"), repeat=3), (10, 8), 6)
    levels = [[int(cell[0, 0, 0]) for cell in row] for row in found]
    paper = PAPER[0]
    assert levels == [[0, 100, 1, 101, 2, 102], [3, 103, 4, 104, paper, paper]]


def test_before_green():
    image = plain(200, (1, 3))
    found = before_green(image, np.float32([[0, 0.5, 1]]))
    assert found.dtype == np.uint8
    # Halfway between (200, 200, 200) and (0, 177, 64), rounded to even.
    assert found.tolist() == [[list(GREEN), [100, 188, 132], [200, 200, 200]]]


@pytest.fixture
def batch():
    """Two pictures with their targets: one all person, one all background."""
    images = np.stack([plain(50), plain(60)]).astype(np.float32)
    matte = np.zeros((2, 10, 8, 1), np.float32)
    matte[0] = 1
    return images, {"output": matte, "boundary_attention": matte * 0 + 0.2}


def test_data_sheet(batch):
    ((*person, _, _, _, _),) = [row[:8] for row in cells(data_sheet(*batch), (10, 8), 12)]
    assert [int(cell[0, 0, 0]) for cell in person] == [50, 255, 51, 50]
    other = cells(data_sheet(*batch), (10, 8), 12)[0][4:8]
    assert [tuple(cell[0, 0]) for cell in other] == [
        (60,) * 3, (0,) * 3, (51,) * 3, GREEN
    ]  # fmt: skip


def test_matte_sheet(batch):
    images, targets = batch
    outputs = {
        "output": np.full((2, 10, 8, 1), 0.4, np.float16),
        "boundary_attention": np.full((2, 10, 8, 1), 0.6, np.float16),
    }
    (row,) = cells(matte_sheet(images, targets, outputs), (10, 8), 12)
    reds = [int(cell[0, 0, 0]) for cell in row]
    assert reds == [50, 255, 102, 51, 153, 20, 60, 0, 102, 51, 153, 24]


def test_curves():
    names = ("loss", "output_person_iou", "output_mad")
    history = [
        {"epoch": epoch, **{p + name: 1 / epoch for p in ("", "val_") for name in names}}
        for epoch in range(1, 6)
    ]
    sheet = curves(history, best_epoch=5)
    assert sheet.dtype == np.uint8 and sheet.shape == (400, 1300, 3)
    assert (sheet[0, 0] == 255).all()
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3)}
    # Matplotlib's first two: training and validation; here one lies over the other.
    assert (255, 127, 14) in colours
    for row in history:
        row["loss"] = 2 * row["loss"]
    apart = {tuple(pixel) for pixel in curves(history, 5).reshape(-1, 3)}
    assert {(31, 119, 180), (255, 127, 14)} <= apart
    # A run of one epoch, and a history from before a column was added, are drawn as well.
    assert curves([{"epoch": 1, "loss": 0.5}], best_epoch=1).shape == sheet.shape


def test_long_titles_stay_within_their_column():
    picture = np.zeros((20, 64, 3), np.uint8)
    titles = ("the_great_wave_off_kanagawa", "b")
    head = grid([(picture, picture)], titles)[:20]
    alone = grid([(picture,)], titles[:1])[:20]
    assert np.array_equal(head[:, : alone.shape[1] - 4], alone[:, :-4])
    font = ImageFont.load_default(14)
    assert shortened("wave", 64, font) == "wave"
    cut = shortened(titles[0], 64, font)
    assert titles[0].startswith(cut.removesuffix("...")) and font.getlength(cut) <= 64


def test_a_single_epoch_is_seen():
    losses = (0.6, 0.62), (0.62, 0.6)
    rows = [{"epoch": 1, "loss": loss, "val_loss": val_loss} for loss, val_loss in losses]
    one, other = (curves([row], 1) for row in rows)
    assert (one != other).any(axis=2).sum() > 40  # the points have changed places
