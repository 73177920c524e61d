"""Tests composed groups: positions, mattes and files."""

import numpy as np
import pytest
from folders import tree
from PIL import Image

from portrait.commands import prepare as commands
from portrait.data.pairs import Pair, find_pairs, place, read_pair
from portrait.errors import UserError
from portrait.io.images import read_image
from portrait.prepare import groups

WALL = np.full((90, 160, 3), (0, 0, 255), np.uint8)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def bust(colour, left=40, width=60, top=40) -> tuple[np.ndarray, np.ndarray]:
    """A person in front of a grey wall, cut by the lower edge."""
    matte = np.zeros((160, 140), np.uint8)
    matte[top:, left : left + width] = 255
    image = np.where(matte[..., None] > 0, np.uint8(colour), np.uint8(90))
    return image, matte


def seen(picture, channel):
    """Finds a pure colour: light may change it by a third, other channels stay near 0."""
    return (picture[..., channel] > 150) & (np.delete(picture, channel, 2) < 60).all(2)


def test_people_stand_side_by_side_before_the_background():
    found = []
    for seed in range(30):
        picture, matte = groups.compose([bust(RED), bust(GREEN)], WALL, np.random.default_rng(seed))
        height, width = matte.shape
        assert height == groups.HEIGHT and 0.75 <= width / height <= 1.51
        assert (picture.shape, picture.dtype, matte.dtype) == ((height, width, 3), "u1", "u1")
        red, green, wall = (seen(picture, channel) for channel in range(3))
        # The matte is of both, the background of nobody, and of the grey wall nothing came along.
        # What is mixed at an outline can still pass for a colour: up to two fifths.
        assert matte[red | green].min() > 180 and matte[wall].max() < 110
        assert ((red | green | wall) | ((matte > 0) & (matte < 255))).mean() > 0.99
        assert green.any() and green[-1].any()  # the foremost, cut below: stands at the edge
        shares = [mask.any(1).mean() for mask in (red, green)]
        assert max(shares) <= 0.95 * 1.05 + 0.01
        found.append((red.any(), np.argwhere(green)[:, 1].mean() / width))
    assert sum(both for both, _ in found) > 25
    assert min(middle for _, middle in found) < 0.4 and max(middle for _, middle in found) > 0.6


def test_who_is_cut_at_a_side_stands_at_that_side():
    for seed in range(10):
        random = np.random.default_rng(seed)
        picture, _ = groups.compose([bust(RED, left=0), bust(GREEN, left=80)], WALL, random)
        assert seen(picture, 1)[:, -1].any() and not seen(picture, 1)[:, 0].any()
        assert not seen(picture, 0)[:, -1].any()


@pytest.mark.parametrize(
    "person",
    [
        bust(RED, left=0, width=140),
        bust(RED, top=0),
        (bust(RED)[0], np.zeros((160, 140), np.uint8)),
    ],
    ids=["both sides", "top", "nobody"],
)
def test_no_place_for(person):
    assert groups.compose([bust(GREEN), person], WALL, np.random.default_rng(0)) is None


def test_who_is_seen_to_the_feet_does_not_float():
    image, matte = bust(RED)
    matte[-20:] = 0
    for seed in range(10):
        _, alpha = groups.compose([(image, matte)] * 2, WALL, np.random.default_rng(seed))
        lowest = np.flatnonzero((alpha > 127).any(1))[-1]
        assert lowest >= groups.HEIGHT * (1 - 0.12) - 6


def test_people_are_in_another_light_than_the_picture_behind_them():
    levels = []
    for seed in range(10):
        picture, _ = groups.compose([bust(RED), bust(GREEN)], WALL, np.random.default_rng(seed))
        levels.append(np.median(picture[..., 1][seen(picture, 1)]))
    assert min(levels) < 245 and max(levels) == 255


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(WALL).save(folder / "wall.png")
    return folder


def test_written_the_same_in_one_go_and_in_two(street, tmp_path):
    pairs = find_pairs([street], "training")
    written = groups.write(pairs, [WALL], tmp_path / "a", 5, seed=3)
    assert len(written) == 5 and all(path.name.endswith("@g.jpg") for path in written)
    made = find_pairs([tmp_path / "a/street"], "training")
    for pair in made:
        image, matte = read_pair(pair)
        assert image.shape[:2] == matte.shape and 0.02 < (matte > 127).mean() < 0.9
        origin = next(each for each in pairs if each.name == pair.name.removesuffix("@g"))
        assert place(pair) == place(origin)
    before = tree(tmp_path / "a")
    made[2].image.unlink()
    assert groups.write(pairs, [WALL], tmp_path / "a", 5, seed=3) == written
    assert tree(tmp_path / "a") == before
    groups.write(pairs, [WALL], tmp_path / "b", 5, seed=4)
    assert tree(tmp_path / "b") != before
    with pytest.raises(UserError, match=str(tmp_path / "a")):
        groups.write(pairs, [WALL], tmp_path / "a", 6, seed=3)
    with pytest.raises(UserError, match=str(tmp_path / "a")):
        groups.write(pairs, [WALL + 1], tmp_path / "a", 5, seed=3)


def test_groups_are_of_neighbours_in_the_order_of_the_split(tmp_path):
    """Hardly any training group shows a person of the validation set."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
    for number, colour in enumerate(colours):
        image, matte = bust(colour)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        Image.fromarray(matte).save(tmp_path / f"{number}_matte.png")
    pairs = find_pairs([tmp_path], "training")
    black = np.zeros_like(WALL)
    written = groups.write(pairs, [black], tmp_path / "new", 6, seed=1)
    order = [int(pair.image.stem) for pair in sorted(pairs, key=place)]
    sizes = set()
    for path in written:
        # The light dims a colour by a third at most, and leaves out no channel.
        picture = read_image(path) > 100
        counts = [(picture == (np.array(colour) > 0)).all(2).sum() for colour in colours]
        shown = {number for number, count in enumerate(counts) if count > 99}
        first = order.index(int(path.stem.removesuffix("@g")))
        assert shown <= {order[(first + step) % 6] for step in range(3)}
        sizes.add(len(shown))
    assert sizes == {2, 3}


def test_every_background_and_the_seed_count(street, tmp_path):
    pairs = find_pairs([street], "training")
    walls = [np.full((90, 160, 3), level, np.uint8) for level in (0, 255)]
    one, other = (groups.write(pairs, walls, tmp_path / f"{seed}", 6, seed) for seed in (0, 1))
    assert {bool(read_image(path)[0, 0, 0] > 127) for path in one} == {False, True}
    before, after = ({path.name: path.read_bytes() for path in paths} for paths in (one, other))
    assert before.keys() == after.keys() and all(before[name] != after[name] for name in before)


def test_two_pictures_of_one_name_are_refused(street, tmp_path):
    with pytest.raises(UserError, match="street/00000"):
        groups.write(2 * find_pairs([street], "training"), [WALL], tmp_path / "new", 5, seed=3)


def test_the_neighbours_are_other_pictures(street):
    stems = ["1", "1@1", "1@2", "2", "3", "3@1"]
    people = [Pair(street / f"{stem}.jpg", street / f"{stem}_matte.png") for stem in stems]
    chosen = [pair.name for pair in groups.neighbours(people, 1, 3)]
    assert chosen == ["street/1@1", "street/2", "street/3"]
    assert [pair.name for pair in groups.neighbours(people, 5, 2)] == ["street/3@1", "street/1"]


def test_fewer_than_asked_for_are_said(street, photos, tmp_path, capsys):
    written = commands.groups([street], tmp_path / "new", 9, [photos])
    assert len(written) == 6
    out = capsys.readouterr().out
    assert str(tmp_path / "new" / "street") in out and "6 of 9" in out
    with pytest.raises(UserError, match="--backgrounds="):
        commands.groups([street], tmp_path / "new", 9, [])
