#!/usr/bin/env bash
# distributed 2026.8.0: a worker that gets a list while a task runs draws from Python's global generator, so that the
# seeded task draws other numbers.
#
# A worker's event loop weighs what it gets. dask.sizeof takes ten items of a longer list by random.sample, from the
# global generator of the process in which the task runs. A task that has called random.seed(0) then draws other numbers
# than it draws alone, although it shares no data with the list, and although the worker has one thread. The wait before
# a worker connects once more draws too (distributed/comm/core.py), so that a loaded network changes the numbers.
#
# Seen with dask and distributed 2026.8.0, Python 3.11: alone 0.844421..., 0.757954...; beside a list of 100 numbers
# 0.844421... and then another number. numpy's global generator keeps its state.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet dask==2026.8.0 distributed==2026.8.0 numpy==2.4.6
cd "$folder"
cat >task.py <<'PY'
import pathlib
import random
import time


def draw(place):
    """Two numbers of a seeded generator, the second one after the file "go" is there."""
    folder = pathlib.Path(place)
    random.seed(0)
    first = random.random()
    (folder / "drawn").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return first, random.random()
PY
cat >main.py <<'PY'
import pathlib
import time

import distributed
from distributed import Client, LocalCluster
from task import draw

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        found = []
        for beside in (None, list(range(100))):
            folder = pathlib.Path(f"beside-{beside is not None}").resolve()
            folder.mkdir()
            task = client.submit(draw, str(folder), pure=False)
            while not (folder / "drawn").exists():
                time.sleep(0.01)
            if beside is not None:
                client.scatter([beside])
            (folder / "go").touch()
            found.append(task.result())
            print("beside a list" if beside else "alone", found[-1])
    (first, second), (again, other) = found
    assert first == again
    assert second != other, "the worker leaves the task's generator alone"
    print(f"distributed {distributed.__version__}")
PY
"$folder/env/bin/python" main.py
