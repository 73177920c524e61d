"""Tests the effects by numbers, with a network whose alpha is the red channel."""

import io

import built_page
import numpy as np
import pytest
from PIL import Image

PERSON = (255, 120, 40)


@pytest.fixture(scope="module", params=["webgl", "2d"])
def studio(window, photo_file, request):
    """A studio with each painter and the photograph, `tried` in the window."""
    window.run(f"""(async () => {{
        const {{Studio}} = await import('./js/studio.js');
        window.tried = new Studio(document.createElement('div'), {{painter: '{request.param}'}});
        await tried.useNetwork('models/red.tflite.gz');
        await tried.useStyle('models/turned.tflite.gz');
        const photo = {built_page.bytes_of(photo_file.read_bytes())};
        await tried.openPhoto(new File([photo], 'photo.png', {{type: 'image/png'}}));
    }})()""")
    assert window.run("tried.painter") == request.param
    return window


def result(studio, look: str) -> np.ndarray:
    """Returns the saved picture with an effect, as int."""
    studio.run(f"tried.set({look})")
    return built_page.picture(studio, "tried.png()").astype(int)


def far(pixels: np.ndarray, colour) -> int:
    """The largest difference from a colour."""
    return np.abs(pixels[..., : len(colour)] - colour).max()


def test_matte(studio, person):
    alpha = result(studio, "{effect: 'matte'}")[..., 0]
    assert alpha[person(2)].min() >= 254 and alpha[~person(-2)].max() <= 1


def test_cutout(studio, person):
    cut = result(studio, "{effect: 'cutout'}")
    assert cut.shape[2] == 4 and cut[~person(-2)][:, 3].max() == 0
    assert far(cut[person(2)], (*PERSON, 255)) <= 1


def test_colour(studio, person):
    green = result(studio, "{effect: 'colour', colour: '#10c020', strength: 0}")
    assert far(green[~person(-2)], (0x10, 0xC0, 0x20)) <= 1
    assert far(green[person(2)], PERSON) <= 1


def test_picture(studio, person):
    studio.run("""(() => {
        const canvas = new OffscreenCanvas(64, 48), pen = canvas.getContext('2d');
        pen.fillStyle = '#ffff00'; pen.fillRect(0, 0, 64, 48);
        pen.fillStyle = '#00ffff'; pen.fillRect(0, 0, 32, 48);
        tried.setBackground(canvas);
    })()""")
    replaced = result(studio, "{effect: 'picture', strength: 0}")
    assert far(replaced[5:90, 5:25], (0, 255, 255)) <= 1
    assert far(replaced[5:90, 105:120], (255, 255, 0)) <= 1
    assert far(replaced[person(2)], PERSON) <= 1


def test_blur_mixes_the_background_and_nothing_of_the_person(studio, person, photo):
    blurred = result(studio, "{effect: 'blur', strength: 1}")
    assert far(blurred[person(2)], PERSON) <= 1
    assert blurred[~person(-3)][:, 0].max() <= 6  # there is no red in the background
    aside = np.s_[10:90, 4:26, 2]
    assert np.ptp(blurred[aside]) < 0.35 * np.ptp(photo[aside])


def test_style_paints_the_person_only(studio, person, photo):
    painted = result(studio, "{effect: 'style', strength: 1}")
    outside = ~person(-3)
    assert np.abs(painted[outside][:, :3] - photo[outside]).max() <= 2
    assert far(painted[person(6)], PERSON[::-1]) <= 2


def test_the_left_of_the_split_is_the_original(studio, photo):
    studio.run("tried.set({effect: 'colour', colour: '#ffffff', split: 0.25})")
    drawn = "new Promise((done) => { tried.draw(); tried.canvas.toBlob(done); })"
    seen = built_page.picture(studio, drawn).astype(int)
    assert np.abs(seen[:, :30, :3] - photo[:, :30]).max() <= 1
    assert far(seen[5, 34:], (255, 255, 255)) <= 1
    # It is for the eyes: the saved picture has none.
    assert far(result(studio, "{}")[5, :30], (255, 255, 255)) <= 1
    studio.run("tried.set({split: 0})")


def test_webgl_follows_the_edges_of_the_picture(window):
    """A coarse alpha of a person with a fine outline comes out nearer to the truth."""
    edge = (256 + 60 * np.sin(np.arange(512) / 9)).astype(int)
    person = np.arange(512)[:, None] > edge
    image = np.where(person[..., None], (60, 50, 40), (190, 200, 210)).astype(np.uint8)
    coarse = person.reshape(64, 8, 64, 8).mean(axis=(1, 3)).astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    script = f"""(async () => {{
        const {{Painter}} = await import('./js/painter.js');
        const painter = new Painter(new OffscreenCanvas(512, 512));
        const photo = new Blob([{built_page.bytes_of(stream.getvalue())}]);
        const data = new Float32Array({built_page.bytes_of(coarse.tobytes())}.buffer);
        const alpha = {{data, width: 64, height: 64}};
        const picture = await createImageBitmap(photo);
        const look = {{effect: 'matte', strength: 0, colour: '#000000'}};
        painter.draw({{picture, width: 512, height: 512, alpha}}, look);
        return painter.canvas.convertToBlob();
    }})()"""
    fine = built_page.picture(window, script)[..., 0] / 255
    stretched = np.asarray(Image.fromarray(coarse).resize((512, 512), Image.BILINEAR))
    errors = [np.abs(each - person).mean() for each in (fine, stretched)]
    assert errors[0] < 0.3 * errors[1]
