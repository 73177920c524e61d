"""A local web page: a picture or the webcam in, an effect out."""

import functools
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from portrait.effects import backgrounds, catalogue, page_guard, styles
from portrait.effects.blur import APERTURES
from portrait.effects.catalogue import Settings, render
from portrait.effects.depth import DEPTHS
from portrait.effects.matting import AUTO, REFINEMENTS, matte
from portrait.errors import UserError
from portrait.inference.network import Network
from portrait.io.images import read_image, shrink
from portrait.matting.foreground import blur_fusion

if TYPE_CHECKING:
    import gradio

_SIDE = 1280  # pixels of the longer side, at most: the page answers in a second
_HEIGHT = 460  # pixels in which pictures are shown
_PIXELS = 10  # of the reduced picture, by which the page moves and softens the outline
# The beginnings of the names of effects, and fields that are shown for them only.
_SPECIAL = (
    *(("blur", name) for name in ("strength", "aperture", "depth")),
    *(("replace", name) for name in ("colour", "behind", "match")),
    ("stylize", "style"),
)


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
            picture, note = answer(**dict(zip(fields, values, strict=True)))
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        if note:
            gradio.Warning(note)
        return picture

    def show_fields(chosen: list[str]) -> list[dict]:
        wanted = [any(name.startswith(effect) for name in chosen) for effect, _ in _SPECIAL]
        return [gradio.update(visible=visible) for visible in wanted]

    # Uploads are deleted when the page ends, or after an hour.
    with gradio.Blocks(
        title="Portrait effects", analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:
        fields, result = lay_out()
        fields["effects"].change(
            show_fields,
            fields["effects"],
            [fields[name] for _, name in _SPECIAL],
            api_visibility="private",
        )
        # Sliders and the colour take effect when they are released.
        changes = []
        for field in fields.values():
            if isinstance(field, gradio.Slider):
                changes += [field.release]
            elif isinstance(field, gradio.ColorPicker):
                changes += [field.submit, field.blur]
            else:
                changes += [field.input]
        gradio.on(
            changes,
            respond,
            list(fields.values()),
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


def lay_out() -> tuple[dict, "gradio.Image"]:
    """Creates the page's fields, by the names of `make_answer`'s arguments, and the result."""
    import gradio

    gradio.Markdown(
        "# Portrait effects\nEverything happens on this computer. `make web` builds another page,"
        " with a live camera, that needs no Python where it runs: see docs/web.md."
    )
    fields = {}
    with gradio.Row():
        fields["picture"] = _upload(
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
        fields["effects"] = gradio.Dropdown(
            list(catalogue.NAMES), value=["blur"], multiselect=True, label="Effects, in order"
        )
        linear = gradio.Checkbox(label="Linear light", info="Mixes colours like light.", scale=0)
    with gradio.Row():
        fields["strength"] = gradio.Slider(0, 1, value=0.5, label="Strength of the blur")
        aperture = gradio.Dropdown(list(APERTURES), label="Shape of lights out of focus")
        depths = list(zip(("a ground that recedes", "a wall"), DEPTHS, strict=True))
        depth = gradio.Dropdown(depths, label="Background of the blur")
    with gradio.Row():
        fields["colour"] = gradio.ColorPicker(
            "#2e7d5b", label="Background: a colour ...", visible=False, scale=0, min_width=300
        )
        fields["behind"] = _upload(
            label="... or a picture", height=200, visible=False, buttons=[], sources=["upload"]
        )
        match = gradio.Slider(
            0, 1, value=0, visible=False, label="Match the person's light to the background"
        )
    names = styles.shipped_names()
    fields["style"] = gradio.Dropdown(
        names,
        value=names[0],
        allow_custom_value=True,
        visible=False,
        label="Style: a name, or a mix such as udnie:2,great_wave:1",
    )
    fields |= {"linear": linear, "aperture": aperture, "depth": depth, "match": match}
    return fields | _lay_out_outline(), result


def _lay_out_outline() -> dict:
    """Creates the fields that change the outline, by the names of `make_answer`'s arguments."""
    import gradio

    with gradio.Accordion("Outline", open=False), gradio.Row():
        return {
            "refine": gradio.Dropdown(
                [AUTO, *REFINEMENTS],
                label="Refinement",
                info="closed_form takes seconds, and a minute at the first time.",
            ),
            "choke": gradio.Slider(
                -_PIXELS, _PIXELS, value=0, step=0.5, label="Choke: move it inwards, in pixels"
            ),
            "feather": gradio.Slider(
                0, _PIXELS, value=0, step=0.5, label="Feather: soften it, in pixels"
            ),
            "despill": gradio.Slider(
                0, 1, value=0, label="Despill: remove the light of a coloured wall"
            ),
        }


def _background(colour: str, picture: np.ndarray | None) -> backgrounds.BackgroundFunction:
    """The background for `replace`: the picture, or the colour if there is no picture.

    `backgrounds.load` is not used, because it would open any file or address in a request.
    """
    return backgrounds.plain(colour) if picture is None else lambda time: picture


def make_answer(network: Network) -> Callable[..., tuple[np.ndarray | None, str]]:
    """Makes the function that computes the result from the page's fields.

    Returns:
        A function that returns the result and a note for the user, which may be "". The result is
        None without a picture, and the picture itself without effects. It takes attributes of
        `Settings` as `plain`, and raises UserError as `catalogue.check` and `matte`.
    """
    load_style = functools.cache(styles.load_shipped)

    def answer(
        picture: np.ndarray | None,
        effects: list[str],
        *,
        colour: str = "",
        behind: np.ndarray | None = None,
        style: str = "",
        refine: str = AUTO,
        **plain,
    ) -> tuple[np.ndarray | None, str]:
        if picture is None or not effects:
            return picture, ""
        painted = any(name.startswith("stylize") for name in effects)
        settings = Settings(
            background=_background(colour, behind) if "replace" in effects else None,
            style=load_style(style) if painted and style else None,
            estimate=blur_fusion,
            **plain,
        )
        # The page begins with a blur, and whoever adds a cut-out wants the cut-out.
        effects = catalogue.without_hidden(effects, settings)
        catalogue.check(effects, settings)
        image = shrink(picture, _SIDE)
        alpha = matte(image, network, refine)
        note = "" if alpha.any() else "Nobody was found in this picture."
        return render(image, alpha, effects, settings), note

    return answer
