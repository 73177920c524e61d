"""Tests the local page: its function alone, over HTTP, and in a browser."""

import browser
import gradio
import numpy as np
import pytest
import served
from PIL import Image
from skimage import data

from portrait import cli
from portrait.commands import apply
from portrait.effects import Settings, page
from portrait.errors import UserError
from portrait.inference.network import Network

NETWORK = Network("test", (64, 48), lambda image: (image[..., 0] > 150).astype(np.float32))


@pytest.fixture(scope="module")
def picture():
    """An orange person before a black wall."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:, 30:50] = (220, 80, 40)
    return image


@pytest.fixture(scope="module")
def photo(picture, tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "me.png"
    Image.fromarray(picture).save(path)
    return path


def test_the_function(picture):
    answer = page.make_answer(NETWORK)
    result, note = answer(picture, ["replace"], colour="#00ff00")
    assert result[40, 40].tolist() == [220, 80, 40] and result[5, 5].tolist() == [0, 255, 0]
    assert note == ""
    behind = np.full((30, 30, 3), 9, np.uint8)
    result, _ = answer(picture, ["replace"], colour="#00ff00", behind=behind)
    assert result[5, 5].tolist() == [9, 9, 9]
    assert answer(None, ["blur"]) == (None, "")
    # A colour that is not asked for.
    result, _ = answer(picture, ["alpha"], colour="")
    assert result.any()
    with pytest.raises(UserError, match="--style"):
        answer(picture, ["stylize_person"])


def test_outline_and_light(picture):
    """The person has 20 columns of 40 rows, down to the picture's lower edge."""
    answer = page.make_answer(NETWORK)
    plain, _ = answer(picture, ["alpha"])
    smaller, _ = answer(picture, ["alpha"], choke=3)
    area = np.count_nonzero
    assert 0.55 * area(plain > 127) < area(smaller > 127) < 0.75 * area(plain > 127)
    softer, _ = answer(picture, ["alpha"], feather=4)
    soft = [area((each > 20) & (each < 235)) for each in (plain, softer)]
    assert soft[1] > 3 * soft[0]
    wide, _ = answer(picture, ["alpha"], refine="none")
    assert not np.array_equal(wide, plain)
    white = np.full((30, 30, 3), 255, np.uint8)
    result, _ = answer(picture, ["replace"], behind=white, match=1.0)
    assert (result[40, 40].astype(int) > (225, 85, 45)).all()
    before_green = np.full_like(picture, (0, 200, 60))
    before_green[20:, 30:50] = (200, 220, 100)
    result, _ = answer(before_green, ["cutout"], despill=1.0)
    assert np.abs(result[40, 40].astype(int) - (200, 150, 100, 255)).max() <= 1


def test_a_cut_out_needs_no_removal_of_the_blur(picture):
    answer = page.make_answer(NETWORK)
    assert np.array_equal(answer(picture, ["blur", "cutout"])[0], answer(picture, ["cutout"])[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"refine": "crf"},
        {"aperture": "square"},
        {"depth": "deep"},
        {"match": 1.5},
        {"despill": float("nan")},
        {"choke": 1e6},
        {"feather": -1.0},
    ],
)
def test_what_the_flags_refuse_the_page_refuses(picture, wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
        page.make_answer(NETWORK)(picture, ["blur"], **wrong)


def test_the_fields_begin_with_the_defaults_of_the_flags():
    defaults = cli.defaults(apply.apply)
    with gradio.Blocks():
        fields, _ = page.lay_out()
    shared = {name: field.value for name, field in fields.items() if name in defaults}
    assert len(shared) == 10
    # The first style is chosen, and the strength is the default of blur.
    assert shared.pop("strength") == Settings().strength
    assert shared | {"style": ""} == {name: defaults[name] for name in shared}


def test_nobody_is_noted(picture):
    result, note = page.make_answer(NETWORK)(np.zeros_like(picture), ["alpha"])
    assert not result.any() and note.startswith("Nobody was found")


def test_large_pictures_are_made_smaller():
    answer = page.make_answer(NETWORK)
    large = np.kron(data.astronaut()[:300, :400], np.ones((8, 8, 1), np.uint8))
    result, _ = answer(large, ["alpha"])
    assert result.shape == (960, 1280)


@pytest.fixture(scope="module")
def url():
    with served.serving(NETWORK) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.mark.slow
def test_over_http(url, photo):
    from gradio_client import Client, handle_file

    client = Client(url, verbose=False, analytics_enabled=False)
    rest = (0.5, "#00ff00", None, "", False, *NEWER)
    green = client.predict(handle_file(photo), ["replace"], *rest, api_name="/apply")
    result = np.asarray(Image.open(green))
    assert result[40, 40].tolist() == [220, 80, 40]
    assert result[5, 5].tolist() == [0, 255, 0]
    with pytest.raises(Exception, match="alpha"):
        client.predict(handle_file(photo), ["alpha", "blur"], *rest, api_name="/apply")
    with pytest.raises(Exception, match="crf"):
        wrong = (*rest[:-4], "crf", *rest[-3:])
        client.predict(handle_file(photo), ["blur"], *wrong, api_name="/apply")


@pytest.mark.slow
def test_in_a_browser(url, photo, tmp_path):
    """A chosen photograph is blurred; choosing the cut-out effect then cuts it out."""
    if not (program := browser.find()):
        pytest.skip("no Chromium is installed")
    with browser.Browser(program, tmp_path / "profile") as window:
        window.do("Network.enable")
        window.do("Page.navigate", url=url)
        window.wait_for("document.querySelector('input[type=file]') !== null")
        window.upload("input[type=file]", photo)
        blurred = window.wait_for(RESULT)
        window.run(f"document.querySelector('{EFFECTS}').focus()")
        window.do("Input.insertText", text="cutout")
        window.wait_for("document.querySelectorAll('[role=option]').length == 1")
        for kind in "keyDown", "keyUp":
            window.do("Input.dispatchKeyEvent", type=kind, key="Enter", windowsVirtualKeyCode=13)
        window.wait_for(f"{RESULT} != {blurred!r}")
        window.wait_for(LOADED)
        corner, middle = window.run(PIXELS)
        window.run("document.activeElement.blur()")  # which folds the list of effects up
        window.wait_for("document.querySelector('[role=option]') === null")
        window.screenshot(tmp_path / "page.png")
    assert corner[3] == 0 and middle == [220, 80, 40, 255]
    # In the screenshot the person is there twice, as put in and as cut out.
    shown = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    columns = (np.abs(shown - (220, 80, 40)).max(axis=2) < 20).sum(axis=0) > 25
    assert np.count_nonzero(np.diff(columns.astype(int)) == 1) == 2
    # "Everything happens on this computer."
    elsewhere = [each for each in window.requests if not each.startswith((url, "data:", "blob:"))]
    assert window.requests and elsewhere == []


# The fields after the first seven.
NEWER = ("round", "ramp", 0, "guided", 0, 0, 0)
RESULT = "(document.querySelector('img[src$=\"image.png\"]') || {}).src"
LOADED = "document.querySelector('img[src$=\"image.png\"]').complete"
EFFECTS = "input[aria-label^=Effects]"
PIXELS = """(() => {
    const image = document.querySelector('img[src$="image.png"]');
    const canvas = new OffscreenCanvas(80, 60), context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return [[5, 5], [40, 40]].map(([x, y]) => [...context.getImageData(x, y, 1, 1).data]);
})()"""
