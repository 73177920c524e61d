"""Tests the interpretation of the values of mattes."""

import logging

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from portrait.data.labels import examine
from portrait.data.loading import load
from portrait.data.pairs import find_pairs, read_pair
from portrait.errors import UserError

SIZE = (48, 36)  # height, width


def person(number: int) -> np.ndarray:
    """A disc, bool (H, W), at another place in every picture."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (y - 20 - number) ** 2 + (x - 14 - number) ** 2 < 100


def seam(mask: np.ndarray) -> np.ndarray:
    """The pixels on both sides of an outline."""
    kernel = np.ones((3, 3), np.uint8)
    mask = mask.astype(np.uint8)
    return cv2.dilate(mask, kernel) != cv2.erode(mask, kernel)


def numbers(mask: np.ndarray, label: int = 1, void: bool = True, **others: int) -> np.ndarray:
    """A label mask: 0, `label`, and 255 on the seam; with boxes of other classes."""
    labels = np.where(mask, np.uint8(label), np.uint8(0))
    for place, other in enumerate(others.values()):
        labels[:8, 10 * place : 10 * place + 8] = other
    if void:
        labels[seam(mask)] = 255
    return labels


def write_set(folder, draw, count=4, suffix=".png"):
    """Pictures with mattes `draw(mask)`: an array, or a picture."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", SIZE[::-1]).save(folder / f"images/{number}.png")
        matte = draw(person(number))
        matte = matte if isinstance(matte, Image.Image) else Image.fromarray(matte)
        matte.save(folder / f"masks/{number}{suffix}")
    return folder


def mattes(folder, *person_label) -> list[np.ndarray]:
    pairs = examine(find_pairs([folder], "training"), person_label)
    return [read_pair(pair)[1] for pair in pairs]


def assert_exact(found: list[np.ndarray], margin: bool = False):
    for number, matte in enumerate(found):
        mask = person(number)
        assert set(np.unique(matte)) == {0, 255}
        wrong = (matte == 255) != mask
        # A void pixel takes the nearest label, which is right except beside the outline.
        assert not (wrong & ~seam(mask)).any() if margin else not wrong.any()
        assert wrong.sum() <= 0.35 * seam(mask).sum()


def line(caplog) -> str:
    (record,) = caplog.records
    return record.getMessage()


@pytest.fixture(autouse=True)
def said(caplog):
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda mask: mask.astype(np.uint8), ("0 and 1",)),
        (lambda mask: mask.astype(np.uint8) * 255, ("0 and 255",)),
        (lambda mask: mask.astype(np.uint8) * 2, ("2 is the person",)),
        (lambda mask: mask.astype(np.uint16) * 15, ("15 is the person",)),
        (lambda mask: mask.astype(np.uint8) * 38, ("38 is the person",)),
        (lambda mask: mask, ("0 and 255",)),  # of 1 bit
    ],
)
def test_two_values(tmp_path, draw, words, caplog):
    assert_exact(mattes(write_set(tmp_path, draw)))
    assert all(word in line(caplog) for word in (str(tmp_path), *words))


@pytest.mark.parametrize("label", [1, 15])
def test_numbers_with_a_void_value(tmp_path, label, caplog):
    found = mattes(write_set(tmp_path, lambda mask: numbers(mask, label)))
    assert_exact(found, margin=True)
    assert f"{label} is the person, 255 is void" in line(caplog)


def test_files_of_0_and_1_beside_files_of_0_and_255(tmp_path, caplog):
    tops = iter([1, 255, 1, 255])
    assert_exact(mattes(write_set(tmp_path, lambda mask: mask.astype(np.uint8) * next(tops))))
    assert "0 and 1 beside" in line(caplog)


def test_classes_need_to_be_told_which_is_the_person(tmp_path, caplog):
    write_set(tmp_path, lambda mask: numbers(mask, 15, False, table=11, chair=9))
    with pytest.raises(UserError, match=r"0 .* 9 .* 11 .* 15 .*--person_label"):
        mattes(tmp_path)
    assert_exact(mattes(tmp_path, "15"))
    both = mattes(tmp_path, "15", "9")
    assert (both[0][:8, 10:18] == 255).all() and not (both[0][:8, :8] == 255).any()
    with pytest.raises(UserError, match="--person_label"):
        mattes(tmp_path, "7")


def test_inverted_masks_can_be_told(tmp_path):
    write_set(tmp_path, lambda mask: np.where(mask, np.uint8(0), np.uint8(255)))
    assert_exact(mattes(tmp_path, "0"))


def test_numbers_without_0_are_asked_for(tmp_path):
    """As in trimaps of Oxford's pets: 1 is the animal, 2 the background, 3 unknown."""
    write_set(tmp_path, lambda mask: np.where(seam(mask), 3, np.where(mask, 1, 2)).astype(np.uint8))
    with pytest.raises(UserError, match="--person_label"):
        mattes(tmp_path)
    for number, matte in enumerate(mattes(tmp_path, "1")):
        mask = person(number)
        np.testing.assert_array_equal(matte == 255, mask & ~seam(mask))


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_colours(tmp_path, suffix, caplog):
    red = np.uint8([255, 0, 0])
    write_set(tmp_path, lambda mask: mask[..., None] * red, suffix=suffix)
    assert_exact(mattes(tmp_path))
    assert "#ff0000 is the person" in line(caplog)


def test_colours_of_several_classes(tmp_path):
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 15, 255]] = [(128, 0, 0), (192, 128, 128), (224, 224, 192)]  # Pascal VOC's

    def coloured(mask):
        return palette[numbers(mask, 15, plane=1)]

    def paletted(mask):
        picture = Image.fromarray(numbers(mask, 15, plane=1), "P")
        picture.putpalette(palette.tobytes())
        return picture

    for name, draw in (("colours", coloured), ("palette", paletted)):
        write_set(tmp_path / name, draw)
        with pytest.raises(UserError, match=r"#c08080.*--person_label"):
            mattes(tmp_path / name)
        assert_exact(mattes(tmp_path / name, "#c08080"), margin=True)
    assert_exact(mattes(tmp_path / "palette", "15"), margin=True)


def test_pictures_are_no_mattes(tmp_path):
    noise = np.random.default_rng(0)
    write_set(tmp_path, lambda mask: noise.integers(0, 256, (*SIZE, 3), np.uint8))
    with pytest.raises(UserError, match="colours"):
        mattes(tmp_path)


@pytest.mark.parametrize("blur", [3, 9, 31])
def test_soft_mattes_stay_as_they_are(tmp_path, blur, caplog):
    def soft(mask):
        return cv2.GaussianBlur(mask.astype(np.uint8) * 255, (blur, blur), 0)

    found = mattes(write_set(tmp_path, soft))
    for number, matte in enumerate(found):
        np.testing.assert_array_equal(matte, soft(person(number)))
    assert "soft" in line(caplog)


def test_soft_mattes_of_other_kinds(tmp_path, caplog):
    def soft(mask):
        return cv2.GaussianBlur(mask.astype(np.float32), (7, 7), 0)

    def deep(mask):
        return np.uint16(np.rint(soft(mask) * 65535))

    def few(mask):  # four bits
        return np.uint8(np.rint(soft(mask) * 15) * 17)

    def leaky(mask):  # as networks write them: never exactly 0 and 255
        return np.uint8(np.rint(soft(mask) * 249 + 3))

    def trimap(mask):
        return np.where(seam(mask), 128, mask * np.uint8(255)).astype(np.uint8)

    def jpeg(mask):
        ok = cv2.imencode(".jpg", mask.astype(np.uint8) * 255)[1]
        return cv2.imdecode(ok, cv2.IMREAD_GRAYSCALE)

    for draw in (soft, deep, few, leaky, trimap, jpeg):
        suffix = ".tif" if draw is soft else ".png"
        for number, matte in enumerate(
            mattes(write_set(tmp_path / draw.__name__, draw, 4, suffix))
        ):
            expected = np.float32(draw(person(number)))
            expected *= {soft: 255, deep: 255 / 65535}.get(draw, 1)
            assert np.abs(matte - expected).max() <= 0.5 + 1e-3
    assert all("soft" in record.getMessage() for record in caplog.records)


def soft(mask, top=1.0):
    return cv2.GaussianBlur(np.float32(mask) * np.float32(top), (9, 9), 0)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_hardly_anything_in_a_set_of_soft_mattes_is_nobody(tmp_path, dtype, top):
    """As networks write the alpha of a picture without people."""
    highest = [top, 1, 250, top]
    tops = iter(highest)
    found = mattes(write_set(tmp_path, lambda mask: np.rint(soft(mask, next(tops))).astype(dtype)))
    for number, (most, matte) in enumerate(zip(highest, found, strict=True)):
        drawn = np.rint(soft(person(number), most))
        np.testing.assert_array_equal(matte, np.rint(drawn * 255 / top))


def test_masks_of_1_bit_and_files_of_8_bits_among_soft_mattes(tmp_path):
    kinds = iter([np.uint16, bool, np.uint8, np.uint16])

    def draw(mask):
        kind = next(kinds)
        top = np.iinfo(kind).max if kind is not bool else 1
        return mask if kind is bool else np.rint(soft(mask, top)).astype(kind)

    _, one_bit, eight_bits, _ = mattes(write_set(tmp_path, draw))
    np.testing.assert_array_equal(one_bit, 255 * person(1))
    np.testing.assert_array_equal(eight_bits, np.rint(soft(person(2), 255)))


def test_a_16_bit_set_of_8_bit_levels(tmp_path):
    write_set(tmp_path, lambda mask: np.rint(soft(mask, 255)).astype(np.uint16))
    for number, matte in enumerate(mattes(tmp_path)):
        np.testing.assert_array_equal(matte, np.rint(soft(person(number), 255)))


def test_soft_mattes_of_few_levels_in_16_bits(tmp_path):
    """A soft corner, and a trimap, are no labels, although most pixels are 0 or 65535."""

    def steps(mask):
        levels = mask * np.uint16(65535)
        levels[:2, :2] = [[13107, 26214], [39321, 52428]]
        return levels

    def trimap(mask):
        wide = cv2.dilate(np.uint8(mask), np.ones((9, 9))) > mask
        return np.where(wide, 32768, mask * np.uint16(65535)).astype(np.uint16)

    for draw in (steps, trimap):
        found = mattes(write_set(tmp_path / draw.__name__, draw))
        for number, matte in enumerate(found):
            np.testing.assert_array_equal(matte, np.rint(draw(person(number)) / 257))


def test_a_flag_for_labels_leaves_soft_mattes_alone(tmp_path):
    write_set(tmp_path / "labels", lambda mask: numbers(mask, 2, False, table=1))

    def soft(mask):
        return cv2.GaussianBlur(mask.astype(np.uint8) * 255, (9, 9), 0)

    write_set(tmp_path / "soft", soft)
    pairs = examine(find_pairs([tmp_path / "labels", tmp_path / "soft"], "training"), ["2"])
    found = [read_pair(pair)[1] for pair in pairs]
    assert_exact(found[:4])
    np.testing.assert_array_equal(found[4:], [soft(person(number)) for number in range(4)])


def test_a_file_unlike_those_examined_is_left_out(tmp_path, caplog):
    """Only some files of a large folder are examined; unexpected labels are refused."""
    write_set(tmp_path, lambda mask: mask.astype(np.uint8) * 255)
    examined = examine(find_pairs([tmp_path], "training"))
    Image.fromarray(numbers(person(2), 2, False, table=1)).save(tmp_path / "masks/2.png")
    assert len(load(examined, (24, 18)).pairs) == 3
    assert "2.png" in caplog.records[-1].getMessage()


def test_labels_of_mat_files(tmp_path):
    for folder in ("images_data_crop", "images_mask"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / f"images_data_crop/{number}.png")
        labels = np.float64(numbers(person(number), 1))
        savemat(tmp_path / f"images_mask/{number}_mask.mat", {"mask": labels})
    assert_exact(mattes(tmp_path), margin=True)


def test_nothing_but_void_is_left_out(tmp_path):
    write_set(tmp_path, numbers, 20)
    Image.new("L", SIZE[::-1], 255).save(tmp_path / "masks/2.png")
    pairs = examine(find_pairs([tmp_path], "training"))
    assert len(load(pairs, (24, 18)).pairs) == 19


@pytest.mark.parametrize("label", ["person", "#12345", "-1", "#gggggg", ""])
def test_labels_are_numbers_or_colours(tmp_path, label):
    with pytest.raises(UserError, match="--person_label"):
        mattes(write_set(tmp_path, numbers), label)


def test_soft_mattes_with_a_large_plateau_are_mattes(tmp_path):
    """An uncertain background: most pixels between the extremes are equal."""

    def draw(mask):
        soft = cv2.GaussianBlur(np.where(mask, np.float32(255), np.float32(0)), (0, 0), 1.5)
        soft = np.maximum(soft, 45)
        soft[0] = 7 * np.arange(SIZE[1])  # a soft edge
        return np.rint(soft).astype(np.uint8)

    (first, *_) = mattes(write_set(tmp_path, draw))
    np.testing.assert_array_equal(first, draw(person(0)))
