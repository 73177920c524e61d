"""Tests the pictures of the documentation: transparency on squares, and the plot of a table."""

import numpy as np
import pytest

from benchmarks import pictures

TABLE = """
| network | parameters | time * | selfies | heads |
| --- | ---: | --- | --- | --- |
| [`slow`](card.md), 64x48 | 2,000,000 | 5 / 4 | 0.9 / 0.7 | 0.8 / 0.6 |
| `slow`, int8 | | 2.5 / - | 0.85 / 0.65 | 0.75 / 0.55 |

| another | table |
| --- | --- |
| largest | 347 |
"""


def test_cutout_on_squares():
    cutout = np.zeros((32, 32, 4), np.uint8)
    cutout[:, 16:] = (10, 20, 30, 255)
    cutout[16:, 16:, 3] = 51  # a fifth
    picture = pictures.on_squares(cutout)
    assert picture[0, 0].tolist() == [204] * 3
    assert picture[31, 0].tolist() == [255] * 3
    assert picture[0, 31].tolist() == [10, 20, 30]
    # 0.2 of the colour and 0.8 of 204
    assert picture[31, 31] == pytest.approx([165.2, 167.2, 169.2], abs=0.5)


def test_plot_shows_the_first_table():
    person, boundary = np.array(pictures.networks_plot(TABLE).axes).reshape(2, 2)
    assert [axes.get_title() for axes in person] == ["selfies", "heads"]
    points = [[dots.get_offsets()[0].tolist() for dots in axes.collections] for axes in person]
    assert points == [[[5, 0.9], [2.5, 0.85]], [[5, 0.8], [2.5, 0.75]]]
    assert boundary[1].collections[1].get_offsets()[0].tolist() == [2.5, 0.55]
    names = [dots.get_label() for dots in person[0].collections]
    assert names == ["slow, 64x48", "slow, int8"]
    areas = [dots.get_sizes()[0] for dots in person[0].collections]
    assert areas == [220, 220]  # an empty cell: as in the row above


def test_plot_shows_every_network_of_the_documentation():
    page = pictures.NETWORKS.read_text()
    (dots, *_), _ = np.array(pictures.networks_plot(page).axes).reshape(2, -1)
    assert len(dots.collections) > 8
    assert all(each.get_offsets()[0, 0] > 0.5 for each in dots.collections)


@pytest.mark.slow
def test_refinements_show_the_person_on_each_colour():
    """The sheet has a head of 24 pixels and gaps of 4 around cells of 190."""
    sheet = pictures.refinements()
    assert sheet.shape == (24 + 4 * 194 + 4, 5 * 194 + 4, 3)
    cells = sheet[24:-4, 4:].reshape(4, 194, 5, 194, 3)[:2, :190, :, :190].swapaxes(1, 2)
    for row, ground in zip(cells, ((0, 177, 64), (0, 0, 0)), strict=True):
        for cell in row[1:]:
            assert np.abs(cell[5, -5].astype(int) - ground).max() <= 2
            assert np.abs(cell[100, 40].astype(int) - row[0][100, 40]).max() <= 2


def test_difficult_pictures_keep_their_matte_beside_them():
    sizes = {name: photo.shape[:2] for name, (photo, truth) in pictures.difficult().items()}
    assert sizes["lying"] == sizes["as it is"][::-1]
    assert all(truth.shape == photo.shape[:2] for photo, truth in pictures.difficult().values())
    # The lower half has more of the person.
    mattes = {name: truth for name, (_, truth) in pictures.difficult().items()}
    assert mattes["below her head"].mean() > mattes["as it is"].mean()
