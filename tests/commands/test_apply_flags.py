"""Flags of apply.py that would have no effect are refused."""

import scripts

WITHOUT_EFFECT = [
    (["--input=a.png", "--background=white"], "--effect=replace"),
    (["--input=a.png", "--match=0.5", "--effect=green_screen"], "--effect=replace"),
    (["--input=a.png", "--style=udnie"], "--effect=stylize_person"),
    (["--input=a.png", "--strength=0.5", "--effect=cutout"], "--effect=blur"),
    (["--input=a.mp4", "--frame_rate=10"], "--frame_rate"),
    (["--input=a.png", "--port=80"], "--serve"),
    (["--serve=True", "--refine=none"], "--input"),
    (["--serve=True", "--input=a.png"], "--serve and --input"),
    (["--input=0", "--virtual_camera=/dev/video2", "--output=a.mp4"], "--virtual_camera and"),
    (
        ["--input=a.png", "--effect=stylize_person", "--style=a.tflite", "--paint_size=300"],
        "--paint_size has no effect on a.tflite",
    ),
    (["--input=a.png", "--effect=alpha", "--despill=1"], "--despill has no effect"),
    (["--input=photo.jpg", "--smooth=False"], "--smooth is for videos"),
    (["--input=a.png", "--output="], "--output= is empty"),
    (["--input=in", "--workers=2", "--output="], "--output= is empty"),
    (["--input="], "--input= is empty"),
    (["--serve=True", "--input="], "--input= is empty"),
]
WITH_EFFECT = [
    ["--input=a.png", "--strength=0.5", "--effect=grayscale_background,stylize_person"],
    ["--input=frames/%05d.png", "--frame_rate=10"],
    ["--input=list.txt", "--smooth=False", "--effect=cutout", "--despill=1"],
]


def test_flags_without_effect_are_refused_in_one_line(tmp_path):
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "list.txt").touch()
    commands = [*(command for command, _ in WITHOUT_EFFECT), *WITH_EFFECT]
    ended = scripts.run("apply", *commands, folder=tmp_path)
    refused, others = ended[: len(WITHOUT_EFFECT)], ended[len(WITHOUT_EFFECT) :]
    for (command, named), (status, _, err) in zip(WITHOUT_EFFECT, refused, strict=True):
        (line,) = err.strip().splitlines()
        assert status == 1 and named in line, command
    for status, _, err in others:  # the pictures and the style are missing
        assert status == 1 and "is for" not in err
