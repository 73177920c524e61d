"""The tasks of `bulk` on a Ray cluster: actors hold the network, and Ray replaces dead actors."""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from portrait.effects.bulk import Done, Task, Work, attempt, is_long
from portrait.errors import UserError, first_line

_GROUP = 16  # photographs that are given out together
_STARTS = 3  # of Ray on this machine


class _Actor:
    """Lives in a process of the cluster, and holds the network."""

    def __init__(self, make: Callable[[], Work]):
        import cv2

        cv2.setNumThreads(1)
        self._work = make()

    def __call__(self, batch: dict) -> dict:
        groups = [[Task(*task) for task in json.loads(group)] for group in batch["group"]]
        done = [attempt(self._work, task) for group in groups for task in group]
        return {"done": [json.dumps(each) for each in done]}


def on_ray(
    tasks: Sequence[Task], make: Callable[[], Work], workers: int, address: str
) -> Iterator[Done]:
    """Works on tasks in actors of a Ray cluster, and yields them as they are done.

    If an actor dies, Ray starts another one and gives its tasks out again. The machines of the
    cluster need the project at the same path, with its requirements and requirements-cluster.txt.
    """
    ray = _connect(address, workers)
    groups = [[task] for task in tasks if is_long(task)]
    short = [task for task in tasks if not is_long(task)]
    groups += [short[start : start + _GROUP] for start in range(0, len(short), _GROUP)]
    if not groups:
        return
    rows = ray.data.from_items(
        [{"group": json.dumps(group)} for group in groups],
        override_num_blocks=min(len(groups), 10_000),
    ).map_batches(
        _Actor,
        fn_constructor_args=(make,),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    )
    try:
        for row in rows.iter_rows():
            task, error = json.loads(row["done"])
            yield Done(Task(*task), error)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        raise (
            cause if isinstance(cause, UserError) else UserError(f"Ray: {first_line(error)}")
        ) from error
    finally:
        ray.shutdown()


def _connect(address: str, workers: int):
    """Ray, connected to a cluster; it does not report its usage to its makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # not a logger of `logging`
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(
            "--cluster needs Ray: pip install -r requirements-cluster.txt; without --cluster, "
            "--workers are processes of this machine"
        ) from error
    root = str(Path(__file__).resolve().parents[2])
    variables = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    options = {"runtime_env": {"env_vars": variables}, "log_to_driver": False}
    if address == "local":
        options |= {"num_cpus": workers + 1, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1", "object_store_memory": 200 << 20}
    else:
        options |= {"address": address}
    logging.getLogger("ray").setLevel(logging.ERROR)
    import psutil  # is installed with Ray

    before = psutil.Process().children(recursive=True)
    # Ray's processes have 30 seconds to start, which may be too short for a busy machine. That
    # cannot be set, but the next start is quicker.
    for left in reversed(range(_STARTS if address == "local" else 1)):
        try:
            ray.init(logging_level=logging.ERROR, **options)
            break
        except Exception as error:  # Ray raises many types
            ray.shutdown()
            _end_children(before)
            if not left:
                raise UserError(f"--cluster={address}: {first_line(error)}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray


def _end_children(but: list) -> None:
    """Ends the descendants of this process; `ray.shutdown` does not end them after a failed start.

    Args:
        but: the `psutil.Process` objects that stay.
    """
    import psutil

    new = [each for each in psutil.Process().children(recursive=True) if each not in but]
    for each in new:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(new, timeout=10)
