"""Damages files reproducibly: arbitrary bytes, and the fields of each format."""

import contextlib
import copy
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random], bytes]

_WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_VALUES = (
    *(None, True, 0, -1, 1e308, 2**70, float("nan"), "", "x" * 5000, "\0\x1b[2J\n", "../../x", []),
    *({}, [[]], {"": None}, "9" * 30, "256x", "0", [None, {}]),
)


def in_bytes(data: bytes, draw: random.Random) -> bytes:
    """Changes, deletes, inserts and copies bytes, and sometimes cuts off the end."""
    mutant = bytearray(data[: draw.randrange(1, len(data))] if draw.random() < 0.15 else data)
    for _ in range(draw.choice([1, 1, 2, 4, 10, 40])):
        place = draw.randrange(min(len(mutant), draw.choice([64, 600, len(data)])))
        kind = draw.randrange(6)
        if kind == 0:
            mutant[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            word = draw.choice(_WORDS)
            size = draw.choice([s for s in (1, 2, 4, 8) if word < 1 << 8 * s])
            mutant[place : place + size] = word.to_bytes(size, draw.choice(["big", "little"]))
        elif kind == 2 and len(mutant) > 300:
            del mutant[place : place + draw.choice([1, 7, 100])]
        elif kind == 3:
            mutant[place:place] = draw.randbytes(draw.choice([1, 8, 188]))
        elif kind == 4:
            source = draw.randrange(len(mutant))
            size = draw.choice([2, 16, 200])
            mutant[place : place + size] = mutant[source : source + size]
        else:
            mutant[place] = draw.randrange(256)
    return bytes(mutant)


def in_png(data: bytes, draw: random.Random) -> bytes:
    """Damages chunks of a PNG and corrects their checksums, so that decoders read them."""
    if draw.random() < 0.3:
        return in_bytes(data, draw)
    chunks, place = [], 8
    while place + 12 <= len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    for _ in range(draw.choice([1, 1, 3])):
        number = draw.randrange(len(chunks))
        kind, content = chunks[number]
        if kind == b"IDAT" and draw.random() < 0.5:
            with contextlib.suppress(zlib.error):  # the chunk was damaged before
                content = zlib.compress(in_bytes(zlib.decompress(content), draw))
        elif content:
            content = in_bytes(content, draw)
        chunks[number] = (kind, content)
    if draw.random() < 0.2:
        draw.shuffle(chunks)
    return data[:8] + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def in_zip(data: bytes, draw: random.Random) -> bytes:
    """Damages members of a ZIP archive, such as an `.npz` file, and packs them again."""
    if draw.random() < 0.4:
        return in_bytes(data, draw)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    for _ in range(draw.choice([1, 1, 3])):
        member = draw.choice(members)
        kind = draw.randrange(4)
        if kind == 0:
            member[0] = draw.choice(["x.npy", "../x.npy", "/x", member[0] + "0", "progress", "é"])
        elif kind == 1:  # the first 128 bytes hold type and shape
            member[1] = in_bytes(member[1][:128], draw) + member[1][128:]
        elif kind == 2:
            member[1] = draw.choice(members)[1]
        else:
            member[1] = in_bytes(member[1], draw)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw.choice([0, 8])) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def in_json(data: bytes, draw: random.Random) -> bytes:
    """Replaces values of a JSON file by other types, deletes them, or nests them deeply."""
    if draw.random() < 0.25:
        return in_bytes(data, draw)
    tree = json.loads(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        places = list(_places(tree))
        holder, key = draw.choice(places)
        if draw.random() < 0.2:
            del holder[key]
        elif draw.random() < 0.1:
            holder[key] = json.loads("[" * 400 + "]" * 400)
        else:
            holder[key] = copy.deepcopy(draw.choice(_VALUES))
    if draw.random() < 0.02:
        return b"[" * 200_000
    return json.dumps(tree).encode()


def _places(tree, depth: int = 50):
    """Yields the container and the key of each value in a tree, except for the deepest ones."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list) and depth:
            yield from _places(value, depth - 1)


def in_hdf5(data: bytes, draw: random.Random) -> bytes:
    """Replaces data sets by other shapes and types or by links, and deletes them."""
    if draw.random() < 0.5:
        return in_bytes(data, draw)
    import h5py
    import numpy as np

    file = io.BytesIO(data)
    with h5py.File(file, "r+") as tree:
        names = []
        tree.visit(names.append)
        for _ in range(draw.choice([1, 1, 3])):
            name = draw.choice([each for each in names if _is_there(tree, each)])
            kind = draw.randrange(6)
            if kind == 0:
                tree.attrs[draw.choice(["layer_names", "x"])] = draw.choice([1, "x", np.zeros(3)])
                continue
            del tree[name]
            if kind == 1:
                tree[name] = draw.choice([np.zeros((2, 3)), np.float32(1), b"x", np.zeros(0)])
            elif kind == 2:
                tree[name] = h5py.ExternalLink("/etc/hostname", "/")
            elif kind == 3:
                tree[name] = h5py.SoftLink(draw.choice(["/", f"/{name}", "/nowhere"]))
            elif kind == 4:  # a terabyte that takes no space in the file
                tree.create_dataset(name, (1 << 20, 1 << 18), "f4", chunks=(1024, 1024))
    return file.getvalue()


def _is_there(tree, name: str) -> bool:
    try:
        return name in tree
    except RuntimeError:  # a circular link
        return False


def in_tflite(data: bytes, draw: random.Random) -> bytes:
    """Changes numbers of a model's graph: shapes, types, buffers, inputs of ops, and op codes."""
    if draw.random() < 0.5:
        return in_bytes(data, draw)
    from portrait.tflite import graph

    model = graph.parse(data)
    main = model.subgraphs[0]
    for _ in range(draw.choice([1, 1, 2])):
        tensor, op = draw.choice(main.tensors), draw.choice(main.operators)
        kind = draw.randrange(6)
        number = draw.choice([-1, 0, 1, 3, 7, 255, 65536, 2**31 - 1, -(2**31)])
        if kind == 0:
            shape = [int(each) for each in tensor.shape] or [1]
            shape[draw.randrange(len(shape))] = number
            tensor.shape = draw.choice([shape, shape[:-1], [*shape, 2]])
        elif kind == 1:
            tensor.type = draw.randrange(18)
        elif kind == 2:
            tensor.buffer = abs(number) % (len(model.buffers) + 2)
        elif kind == 3:
            inputs = [int(each) for each in op.inputs]
            inputs[draw.randrange(len(inputs))] = (
                number if draw.random() < 0.3 else draw.randrange(len(main.tensors))
            )
            op.inputs = inputs
        elif kind == 4:
            op.opcodeIndex = abs(number) % (len(model.operatorCodes) + 1)
        else:
            code = draw.choice(model.operatorCodes)
            code.builtinCode = code.deprecatedBuiltinCode = draw.randrange(127)
    return graph.pack(model)
