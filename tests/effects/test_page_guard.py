"""Tests which requests the local page answers, and which files a request can make it read."""

import asyncio

import gradio
import httpx
import numpy as np
import pytest
import served

from portrait.effects import backgrounds, page_guard, styles
from portrait.errors import UserError
from portrait.inference.network import Network

PORT = 7860


async def echo(scope, receive, send):
    """Answers 200 with the number of bytes that came."""
    count = 0
    while True:
        message = await receive()
        count += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(count).encode()})


def ask(headers: dict, body: bytes = b"", **bounds) -> int:
    """The HTTP status of a POST with these headers."""
    guarded = page_guard.LocalOnly(echo, PORT, **bounds)

    async def post():
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.post("/", headers=headers, content=body)).status_code

    return asyncio.run(post())


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860"])
def test_this_computer_is_answered(host):
    assert ask({"host": host}) == 200
    assert ask({"host": host, "origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},  # a name that points to 127.0.0.1
        {"host": "127.0.0.1:7861"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:7860", "origin": "http://evil.example"},
        {"host": "127.0.0.1:7860", "origin": "null"},  # a file, or a page in a sandbox
        {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7861"},
        {"host": "127.0.0.1:7860", "origin": "https://127.0.0.1:7860"},
    ],
)
def test_others_are_not(headers):
    assert ask(headers) == 403


def test_large_requests_are_refused_whether_or_not_they_say_their_length():
    good = {"host": "127.0.0.1:7860"}
    assert ask(good, bytes(100), largest=100) == 200
    assert ask(good, bytes(101), largest=100) == 413
    guarded = page_guard.LocalOnly(echo, PORT, largest=100)
    sent = []
    chunks = iter([bytes(60), bytes(60)])

    async def receive():
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost:7860")]}
    asyncio.run(guarded(scope, receive, send))
    assert sent[0]["status"] == 413


def test_a_body_that_does_not_come_ends_the_request():
    guarded = page_guard.LocalOnly(echo, PORT, seconds=0.05)
    sent = []

    async def receive():
        await asyncio.sleep(30)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost:7860")]}
    asyncio.run(guarded(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_colour_never_names_a_file(tmp_path):
    wall = tmp_path / "wall.png"
    wall.touch()
    for text in (str(wall), "http://127.0.0.1/x.png", "tcp://127.0.0.1:1/x.mp4", "no colour"):
        with pytest.raises(UserError, match="colour"):
            backgrounds.plain(text)
    assert backgrounds.plain("#0a141e")(0.0).tolist() == [10, 20, 30]


def test_a_style_of_the_page_is_a_shipped_one():
    for text in ("gone.tflite", "/etc/passwd", "udnie:1,/etc/passwd:1"):
        with pytest.raises(UserError, match="udnie"):
            styles.load_shipped(text)


@pytest.fixture(scope="module")
def port():
    network = Network("test", (64, 48), lambda image: (image[..., 0] > 150).astype(np.float32))
    with served.serving(network) as port:
        yield port


def call(port: int, data: list, **headers) -> tuple[int, str]:
    """The results of the page's `apply` for its fields, through a browser's requests."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=headers) as client:
        begun = client.post("/gradio_api/call/apply", json={"data": data})
        if begun.status_code != 200:
            return begun.status_code, ""
        event = begun.json()["event_id"]
        return 200, client.get(f"/gradio_api/call/apply/{event}").text


def test_the_served_page_reads_no_file_and_no_address(port, tmp_path, monkeypatch):
    fetched = []

    async def fetch(address, **options):
        fetched.append(address)
        raise OSError

    monkeypatch.setattr(gradio.processing_utils, "async_ssrf_protected_download", fetch)
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    for name in ("http://192.0.2.1/x.png", str(secret), f"file://{secret}"):
        picture = {"path": name, "url": name, "meta": {"_type": "gradio.FileData"}}
        fields = [picture, ["replace"], 0.5, "#00ff00", None, "", False]
        fields += ["round", "ramp", 0, "guided", 0, 0, 0]
        status, text = call(port, fields)
        assert status == 200 and "event: error" in text
    assert fetched == []


def test_the_served_page_does_not_answer_strangers(port):
    assert call(port, [], origin="http://evil.example")[0] == 403
    assert call(port, [], host="evil.example")[0] == 403
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answer = client.options("/", headers={"origin": "http://evil.example"})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert client.get("/").status_code == 200
