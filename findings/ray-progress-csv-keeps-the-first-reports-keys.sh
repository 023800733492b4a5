#!/usr/bin/env bash
# ray 2.60.0: a metric that the first report of a trial lacks never reaches progress.csv.
#
# The CSV logger of Ray Tune takes its columns from the first report. A trial that reports its loss at every step and
# its validation at every second one has no validation in progress.csv at all, and no warning says so. result.json
# beside it has every value.
#
# Seen with ray 2.60.0, Python 3.11: four reports, two of them with an accuracy: no column accuracy in progress.csv, two
# accuracies in result.json
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "ray[tune]==2.60.0"
cd "$folder"
RAY_AIR_NEW_OUTPUT=0 "$folder/env/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import ray
from ray import tune


def train(config):
    for step in range(1, 5):
        tune.report({"loss": 1.0 / step, **({"accuracy": 0.1 * step} if step % 2 == 0 else {})})


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
run = tune.RunConfig(name="x", storage_path=str(Path(sys.argv[1]) / "ray"), verbose=0)
tune.Tuner(train, param_space={"lr": 0.1}, run_config=run).fit()
(file,) = Path(sys.argv[1]).glob("ray/x/train*/progress.csv")
columns = file.read_text().splitlines()[0].split(",")
found = file.with_name("result.json").read_text().count('"accuracy"')
print(columns, found)
assert "loss" in columns and "accuracy" not in columns and found == 2
PY
