#!/usr/bin/env bash
# mlflow 3.17.2: in the default store a metric of infinity comes back as the largest float, a finite number.
#
# The SQLite store, the default, keeps nan as the value 0.0 with is_nan 1, and the client gives nan back. It keeps
# infinity as 1.797e308 with is_nan 0, and the client gives this number back. So math.isinf finds no loss that
# overflowed, and a mean over runs that one such loss enters is finite and absurd. Whoever reads the table without
# is_nan takes a loss of nan for 0.0.
#
# Seen with mlflow 3.17.2, Python 3.11: rows (1, 0.0, 1), (2, 1.7976931348623157e308, 0); read back nan and
# 1.7976931348623157e308
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet mlflow==3.17.2
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import math
import sqlite3
import sys

import mlflow

with mlflow.start_run() as run:
    for step, value in enumerate((1.0, math.nan, math.inf, -math.inf)):
        mlflow.log_metric("loss", value, step=step)
rows = sqlite3.connect("mlflow.db").execute("select step, value, is_nan from metrics order by step").fetchall()
back = [metric.value for metric in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
print(rows, back)
largest = sys.float_info.max
assert rows == [(0, 1.0, 0), (1, 0.0, 1), (2, largest, 0), (3, -largest, 0)]
assert back[0] == 1.0 and math.isnan(back[1]) and back[2:] == [largest, -largest]
PY
