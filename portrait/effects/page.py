"""A local web page: a picture or the webcam in, an effect out."""

import functools
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from portrait.effects import backgrounds, catalogue, page_guard, styles
from portrait.effects.catalogue import Settings, render
from portrait.effects.matting import matte
from portrait.errors import UserError
from portrait.inference.network import Network
from portrait.io.images import read_image, shrink
from portrait.matting.foreground import blur_fusion

if TYPE_CHECKING:
    import gradio

_SIDE = 1280  # pixels of the longer side, at most: the page answers in a second
_HEIGHT = 460  # pixels in which pictures are shown


def serve(network: Network, port: int) -> None:
    """Shows the page at http://127.0.0.1:`port` until Ctrl-C or SIGTERM.

    No data leaves this computer, other computers get no answer (`page_guard`), and uploaded
    pictures are deleted at the end.

    Raises:
        UserError: the port is taken.
    """
    import uvicorn

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"cannot serve at port {port}: it is taken; give --port=N") from error
        port = listening.getsockname()[1]  # port 0 lets the system choose one
        server = uvicorn.Server(uvicorn.Config(application(network, port), log_level="warning"))
        print(f"http://127.0.0.1:{port}: Ctrl-C ends it", flush=True)
        server.run([listening])


def application(network: Network, port: int) -> page_guard.LocalOnly:
    """The page as an ASGI application that is served at 127.0.0.1:`port`."""
    import fastapi
    import gradio

    page = gradio.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        build(network),
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=page_guard.LARGEST,
    )
    return page_guard.LocalOnly(page, port)


def build(network: Network) -> "gradio.Blocks":
    """The page as a `gradio.Blocks`, whose function `apply` is `make_answer(network)`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio

    answer = make_answer(network)

    def respond(*values):
        try:
            picture, note = answer(*values)
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        if note:
            gradio.Warning(note)
        return picture

    def show_fields(chosen: list[str]) -> list[dict]:
        painted = any(name.startswith("stylize") for name in chosen)
        wanted = ("blur" in chosen, "replace" in chosen, "replace" in chosen, painted)
        return [gradio.update(visible=visible) for visible in wanted]

    # Uploads are deleted when the page ends, or after an hour.
    with gradio.Blocks(
        title="Portrait effects", analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:
        *fields, result = _lay_out()
        picture, effects, strength, colour, behind, style, linear = fields
        effects.change(
            show_fields, effects, [strength, colour, behind, style], api_visibility="private"
        )
        changes = [each.input for each in (picture, effects, behind, style, linear)]
        # The slider and the colour take effect when they are released.
        gradio.on(
            [*changes, strength.release, colour.submit, colour.blur],
            respond,
            fields,
            result,
            api_name="apply",
            trigger_mode="always_last",
        )
    return page


def _upload(**options) -> "gradio.Image":
    """A `gradio.Image` for uploads only, whose files are read by `io.images`.

    Gradio itself would fetch any address in a request. It also decodes 16-bit pictures as white,
    and shows the hidden colours of transparent pixels.
    """
    import gradio

    image = gradio.Image(**options)
    take = image.async_move_resource_to_block_cache

    async def take_file(path):
        if "://" in str(path or ""):
            raise gradio.Error("addresses are not read: upload the picture")
        return await take(path)

    def read(uploaded):
        try:
            return read_image(uploaded.path) if uploaded and uploaded.path else None
        except UserError as error:
            raise gradio.Error(_unnamed(error, uploaded), print_exception=False) from error

    image.async_move_resource_to_block_cache = take_file
    image.preprocess = read
    return image


def _unnamed(error: UserError, uploaded) -> str:
    """The error message with the name of the upload instead of the path of Gradio's copy."""
    return str(error).replace(uploaded.path, uploaded.orig_name or "the picture")


def _lay_out() -> tuple:
    """Creates the page's fields, in the order of `make_answer`'s arguments, and the result."""
    import gradio

    gradio.Markdown(
        "# Portrait effects\nEverything happens on this computer. `make web` builds another page,"
        " with a live camera, that needs no Python where it runs: see docs/web.md."
    )
    with gradio.Row():
        picture = _upload(
            label="Photograph",
            sources=["upload", "webcam", "clipboard"],
            height=_HEIGHT,
            buttons=[],
        )
        result = gradio.Image(
            label="Result",
            format="png",
            image_mode="RGBA",
            height=_HEIGHT,
            buttons=["download", "fullscreen"],
        )
    with gradio.Row():
        effects = gradio.Dropdown(
            list(catalogue.NAMES), value=["blur"], multiselect=True, label="Effects, in order"
        )
        linear = gradio.Checkbox(label="Linear light", info="Mixes colours like light.", scale=0)
    strength = gradio.Slider(0, 1, value=0.5, label="Strength of the blur")
    with gradio.Row():
        colour = gradio.ColorPicker(
            "#2e7d5b", label="Background: a colour ...", visible=False, scale=0, min_width=300
        )
        behind = _upload(
            label="... or a picture", height=200, visible=False, buttons=[], sources=["upload"]
        )
    names = styles.shipped_names()
    style = gradio.Dropdown(
        names,
        value=names[0],
        allow_custom_value=True,
        visible=False,
        label="Style: a name, or a mix such as udnie:2,great_wave:1",
    )
    return picture, effects, strength, colour, behind, style, linear, result


def _background(colour: str, picture: np.ndarray | None) -> backgrounds.BackgroundFunction:
    """The background for `replace`: the picture, or the colour if there is no picture.

    `backgrounds.load` is not used, because it would open any file or address in a request.
    """
    return backgrounds.plain(colour) if picture is None else lambda time: picture


def make_answer(network: Network) -> Callable[..., tuple[np.ndarray | None, str]]:
    """Makes the function that computes the result from the page's fields.

    Returns:
        A function that returns the result and a note for the user, which may be "". The result is
        None without a picture, and the picture itself without effects.
    """
    load_style = functools.cache(styles.load_shipped)

    def answer(
        picture: np.ndarray | None,
        effects: list[str],
        strength: float,
        colour: str,
        behind: np.ndarray | None,
        style: str,
        linear: bool,
    ) -> tuple[np.ndarray | None, str]:
        if picture is None or not effects:
            return picture, ""
        painted = any(name.startswith("stylize") for name in effects)
        settings = Settings(
            strength=strength,
            background=_background(colour, behind) if "replace" in effects else None,
            style=load_style(style) if painted and style else None,
            linear=linear,
            estimate=blur_fusion,
        )
        catalogue.check(effects, settings)
        image = shrink(picture, _SIDE)
        alpha = matte(image, network)
        note = "" if alpha.any() else "Nobody was found in this picture."
        return render(image, alpha, effects, settings), note

    return answer
