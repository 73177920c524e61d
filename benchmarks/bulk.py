"""Measures apply.py on a folder of photographs: plain, with processes of this machine, with Ray.

python benchmarks/bulk.py --photos=DIR [--pictures=100] [--workers=1,2] [--rounds=1]

The table has the seconds of the whole command, the pictures a second between the first and the last
result (without the start), the CPU seconds, and the largest memory of all its processes together,
where shared pages count once (Linux only). Rounds alternate between the rows. Rows of Ray are left
out where it is not installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags

from benchmarks import processes
from portrait import cli
from portrait.errors import UserError
from portrait.io.images import list_images, without_made
from portrait.util import aligned, evenly

FLAGS = flags.FLAGS
flags.DEFINE_string("photos", "", "A folder of photographs.")
flags.DEFINE_string("model", "selfie_net_big_256x256", "See apply.py.")
flags.DEFINE_integer("pictures", 100, "The largest number of photographs.", 2)
flags.DEFINE_list("workers", ["1", "2"], "Numbers of workers.")
flags.DEFINE_integer("rounds", 1, "Rounds of each row.", 1)

_APPLY = Path(__file__).resolve().parent.parent / "apply.py"
_MARK = "PORTRAIT_BENCHMARK"  # in the environment of all processes of a command
_PAUSE = 0.25  # seconds between looks at the memory


def measured(source: Path, flags_of_row: list[str]) -> tuple[float, float, float, float]:
    """Seconds, pictures/s, seconds of processors and MiB of a run of apply.py."""
    mark = f"{_MARK}={uuid.uuid4()}"
    most, busy = 0.0, {}
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, _APPLY, f"--input={source}", f"--output={output}"]
        command += ["--effect=alpha", f"--model={FLAGS.model}", "--threads=1", *flags_of_row]
        start = time.time()
        environment = os.environ | dict([mark.split("=")])
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
            while process.poll() is None:
                found = processes.with_mark(mark)
                most = max(most, processes.memory(found)[0])
                for each in found:
                    busy[each] = max(busy.get(each, 0), processes.seconds(each))
                time.sleep(_PAUSE)
            if process.returncode:
                said.seek(0)
                *_, last = ["it was killed", *said.read().splitlines()]
                last = last.replace(str(source), FLAGS.photos)
                raise UserError(f"apply.py: {last.removeprefix('error: ')}")
        seconds = time.time() - start
        times = sorted(path.stat().st_mtime for path in Path(output).rglob("*.png"))
    if len(times) < 2:
        raise UserError(f"{FLAGS.photos}: {len(times)} results, but a rate needs at least two")
    rate = (len(times) - 1) / max(times[-1] - times[0], 1e-3)
    return seconds, rate, sum(busy.values()), most


def main() -> None:
    if not FLAGS.photos:
        raise UserError("--photos=DIR: give a folder of photographs")
    photos = evenly(without_made(list_images(FLAGS.photos)), FLAGS.pictures)
    rows = {"apply.py": []}
    rows |= {f"--workers={count}": [f"--workers={count}"] for count in FLAGS.workers}
    if find_spec("ray"):
        rows |= {
            f"--workers={count} --cluster=local": [f"--workers={count}", "--cluster=local"]
            for count in FLAGS.workers
        }
    found: dict[str, list] = {name: [] for name in rows}
    with tempfile.TemporaryDirectory() as folder:
        for photo in photos:
            shutil.copy(photo, folder)
        for _ in range(FLAGS.rounds):
            for name, of_row in rows.items():
                found[name].append(measured(Path(folder), of_row))
    table = [["command", "seconds", "pictures/s", "CPU s", "MiB"]]
    for name, rounds in found.items():
        seconds, rate, busy, memory = np.median(rounds, axis=0)
        table.append([name, f"{seconds:.1f}", f"{rate:.1f}", f"{busy:.1f}", f"{memory:.0f}"])
    print(f"{len(photos)} photographs, {FLAGS.model}, {os.cpu_count()} cores")
    print("\n".join(aligned(table)))


if __name__ == "__main__":
    cli.run(main, ["photos"])
