"""Tests the page in a headless Chromium: photographs, camera, keys, privacy, offline use."""

import gzip
import io
import os
import shutil
import statistics
import time

import av
import built_page
import numpy as np
import pytest
from PIL import Image
from project import ROOT
from skimage import data


def test_a_photograph_is_blurred_as_soon_as_it_is_opened(window, tmp_path):
    image = data.astronaut().astype(int)
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.png")
    built_page.open_photo(window, tmp_path / "photo.png")
    result = built_page.picture(window, "studio.png()")[..., :3].astype(int)
    face, wall = np.s_[90:180, 190:260], np.s_[150:260, 380:440]
    assert np.abs(result[face] - image[face]).mean() < 2
    detail = [np.abs(np.diff(each[wall], axis=1)).mean() for each in (result, image)]
    assert detail[0] < 0.5 * detail[1]


def test_keys_choose_the_effect(window, photo_file):
    built_page.open_photo(window, photo_file)
    names = window.run("[...document.querySelectorAll('[name=effect]')].map((each) => each.value)")
    assert names == ["blur", "colour", "picture", "cutout", "matte", "style"]
    for number, name in enumerate(names, 1):
        window.press(str(number))
        window.wait_for(f"studio.look.effect === '{name}'")
    window.press("1")
    window.press("b")
    window.wait_for("studio.look.split === 0.5")
    window.press("b")
    window.wait_for("studio.look.split === 0")


def test_all_that_can_be_used_has_a_name_for_a_screen_reader(window, photo_file):
    built_page.open_photo(window, photo_file)
    window.run("document.querySelector('details').open = true")
    tree = window.do("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "radio", "combobox", "checkbox", "image", "ColorWell"}
    used = [each for each in tree if not each["ignored"] and each["role"]["value"] in roles]
    assert len(used) > 15
    assert [each for each in used if not each.get("name", {}).get("value")] == []
    window.run("document.querySelector('details').open = false")


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_fits_the_screen(window, width):
    size = {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": width < 700}
    window.do("Emulation.setDeviceMetricsOverride", **size)
    assert window.run("document.documentElement.scrollWidth") <= width
    low = window.run("""[...document.querySelectorAll('button, select, label:has([type=radio])')]
        .filter((each) => each.offsetParent && !each.classList.contains('link'))
        .filter((each) => each.offsetHeight < 38).map((each) => each.id || each.textContent)""")
    assert low == []  # too low for a finger
    window.do("Emulation.clearDeviceMetricsOverride")


def test_nobody_is_noted(window, tmp_path):
    Image.new("RGB", (160, 120), (90, 90, 90)).save(tmp_path / "wall.png")
    built_page.open_photo(window, tmp_path / "wall.png")
    window.wait_for("document.querySelector('#say').textContent.startsWith('Nobody')")
    assert built_page.picture(window, "studio.png()").shape[:2] == (120, 160)


def test_a_file_that_is_no_picture_is_one_line(window, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    window.upload("#photo", tmp_path / "notes.txt")
    assert "notes.txt" in window.wait_for("document.querySelector('#say.wrong')?.textContent")


def test_ones_own_network(window, networks):
    window.upload("#tflite", networks[0])
    window.wait_for("studio.network.height === 96")
    chosen = "document.querySelector('#network').selectedOptions[0].text"
    assert networks[0].name in window.run(chosen)
    place = window.run("document.querySelector('#network').selectedIndex")
    for index, height in ((0, 256), (place, 96), (0, 256)):
        window.run(f"""(() => {{
            const list = document.querySelector('#network');
            list.selectedIndex = {index};
            list.dispatchEvent(new Event('change'));
        }})()""")
        window.wait_for(f"studio.network.height === {height}")


def test_the_network_that_was_chosen_last_is_used(window):
    """The first is large, and arrives after the second."""
    names = ["ensemble_rgba.tflite.gz", "selfie_net_big_256x256_rgba.tflite.gz"]
    late, soon = (f"studio.useNetwork(new URL('models/{name}', location.href))" for name in names)
    window.run("studio.network.mark = 'before'")
    window.run(f"""(async () => {{
        const usual = window.fetch;
        let arrive;
        const second = new Promise((done) => {{ arrive = done; }});
        window.fetch = async (url) => {{
            if (String(url).includes('ensemble')) await second;
            return usual(url);
        }};
        const first = {late};
        window.used = [await {soon}];
        studio.network.mark = 'last';
        arrive();
        window.used.push(await first);
        window.fetch = usual;
    }})()""")
    assert window.run("used") == [True, False]
    assert window.run("studio.network.mark") == "last"


DIFFERENCE = """(() => {
    const {picture, alpha: {bytes, width, height}} = studio.frame;
    const pen = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(picture, 0, 0, width, height);
    const {data} = pen.getImageData(0, 0, width, height);
    return data.reduce((most, value, i) => Math.max(most, Math.abs(value - bytes[i])), 0);
})()"""
"""Between the picture that is drawn and the one that the alpha is of: both are of one moment."""


def test_the_camera(window):
    """640 x 480 pixels at 20 frames per second or more, by the time of each frame.

    The fastest quarter of the frames counts; a busy processor skips the check.
    """
    window.run("""(() => {
        window.spent = [];
        studio.addEventListener('drawn', ({detail: {network, smooth, draw}}) =>
            spent.push(network + smooth + draw));
    })()""")
    window.press("c")
    window.wait_for("spent.length > 40")
    assert window.run("[studio.frame.width, studio.frame.height]") == [640, 480]
    assert window.run(DIFFERENCE) == 0
    if os.getloadavg()[0] < 3:
        assert statistics.quantiles(window.run("spent.slice(5)"), n=4)[0] < 50
    window.run("(() => { window.stop = studio.record(); spent.length = 0; })()")
    window.wait_for("spent.length > 12")
    time.sleep(1)
    film = io.BytesIO(built_page.content(window, "stop()"))
    with av.open(film) as container:
        assert "webm" in container.format.name
        widths = [frame.width for frame in container.decode(video=0)]
    assert len(widths) > 1 and set(widths) == {640}
    window.press("c")
    window.wait_for("!studio.camera.running && studio.frame === null")


def test_the_camera_starts_once_for_two_clicks(window):
    """A second stream would keep the camera on after it is stopped."""
    window.run("""(() => {
        const {mediaDevices} = navigator;
        const open = mediaDevices.getUserMedia.bind(mediaDevices);
        window.tracks = [];
        mediaDevices.getUserMedia = async (options) => {
            const stream = await open(options);
            tracks.push(...stream.getTracks());
            return stream;
        };
    })()""")
    window.press("c")
    window.press("c")
    window.wait_for("studio.frame?.alpha")
    assert window.run("document.getElementById('say').classList.contains('wrong')") is False
    window.press("c")
    window.wait_for("!studio.camera.running && studio.frame === null")
    assert window.run("tracks.map((each) => each.readyState)") == ["ended"]


def test_a_camera_that_is_disconnected_is_told(window):
    window.press("c")
    window.wait_for("studio.frame?.alpha")
    window.run("""(() => {
        const [track] = studio.camera.video.srcObject.getVideoTracks();
        track.dispatchEvent(new Event('ended'));
    })()""")
    message = window.wait_for("document.querySelector('#say.wrong')?.textContent")
    assert message == "The camera was disconnected."
    assert window.run("studio.camera.running || studio.frame !== null") is False


def test_a_recording_that_cannot_start_is_told(window):
    window.press("c")
    window.wait_for("studio.frame?.alpha")
    window.run("""(() => {
        window.whole = MediaRecorder;
        window.MediaRecorder = class { static isTypeSupported() { return false; } };
    })()""")
    window.press("r")
    window.wait_for("document.getElementById('say').classList.contains('wrong')")
    button = "document.getElementById('record')"
    assert window.run(f"{button}.getAttribute('aria-pressed')") == "false"
    assert window.run(f"{button}.textContent.trim()") == "Record"
    window.run("(() => { window.MediaRecorder = whole; })()")
    window.press("c")
    window.wait_for("!studio.camera.running && studio.frame === null")


def test_nothing_leaves_the_page_and_no_picture_is_kept(page, photo_file):
    window = page.window
    built_page.open_photo(window, photo_file)
    own = (page.url, "blob:", "data:")
    assert len(window.requests) > 10
    assert [each for each in window.requests if not each.startswith(own)] == []
    with built_page.served(page.folder) as other:
        request = f"fetch('{other.url}', {{mode: 'no-cors'}})"
        assert window.run(f"{request}.then(() => '', (error) => error.name)") == "TypeError"
        assert other.paths == []
    assert window.run("localStorage.length + sessionStorage.length") == 0
    assert window.run("indexedDB.databases().then((all) => all.length)") == 0
    kept = window.run("""caches.keys().then(([name]) => caches.open(name))
        .then((cache) => cache.keys()).then((all) => all.map((each) => each.url))""")
    files = [path for path in page.folder.rglob("*") if path.is_file()]
    names = {path.relative_to(page.folder).as_posix() for path in files}
    assert kept and {each.removeprefix(page.url).partition("?")[0] for each in kept} <= names
    refusal = "Content Security Policy"  # of the request above
    assert [each for each in window.complaints if refusal not in each] == []


def downloaded(folder, paths) -> int:
    """Bytes of files as a host that compresses sends them."""
    names = {path.partition("?")[0].strip("/") or "index.html" for path in paths}
    files = [folder / name for name in names if (folder / name).is_file()]
    return sum(len(gzip.compress(path.read_bytes())) for path in files)


def test_it_works_offline_after_the_first_load(folder, photo_file, photo, tmp_path):
    with (
        built_page.served(folder) as server,
        built_page.opened(server.url, tmp_path / "profile") as window,
    ):
        server.stop()
        assert downloaded(folder, server.paths) < 4e6
        window.run("window.studio = null")
        window.do("Page.reload")
        window.wait_for(built_page.READY)
        built_page.open_photo(window, photo_file)
        assert built_page.picture(window, "studio.png()").shape[:2] == photo.shape[:2]


def test_pages_in_two_folders_of_a_host_both_work_offline(folder, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(folder, tmp_path / "site" / name)
    with (
        built_page.served(tmp_path / "site") as server,
        built_page.opened(f"{server.url}first/", tmp_path / "profile") as window,
    ):
        for name in ("second", "first"):
            if name == "first":
                server.stop()
            window.run("window.studio = null")
            window.do("Page.navigate", url=f"{server.url}{name}/")
            window.wait_for(built_page.READY)


def test_the_example_of_the_documentation(folder, tmp_path):
    text = (ROOT / "docs" / "web.md").read_text()
    example = text.partition("```html\n")[2].partition("```")[0]
    assert 10 < len(example.splitlines()) <= 20
    (folder / "example.html").write_text(example)
    ready = "document.querySelector('canvas')?.width === 640"
    with (
        built_page.served(folder) as server,
        built_page.opened(f"{server.url}example.html", tmp_path, ready) as window,
    ):
        assert window.run("document.querySelector('canvas').height") == 480
        assert [each for each in window.complaints if "favicon.ico" not in each] == []
