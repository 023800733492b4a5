#!/usr/bin/env bash
# pandas 3.1.1: set_index on steps 1, 2, 3 makes a range, and to_parquet writes the steps into no column.
#
# Since pandas 3, set_index turns a column of evenly spaced whole numbers into a RangeIndex. to_parquet writes such an
# index as three numbers of its own metadata. So a table of a training that is indexed by its step has no step for any
# reader but pandas: pyarrow, DuckDB and Polars see the metrics alone. The same table with steps 1, 2, 4 has the column.
# pandas 2.3.3 writes the column for both.
#
# Seen with pandas 3.1.1, pyarrow 26.0.1, numpy 2.4.6, Python 3.11: columns loss for steps 1, 2, 3; loss, step for 1, 2, 4
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cd "$folder"
cat >columns.py <<'PY'
import pandas as pd
import pyarrow.parquet as pq

for steps in ([1, 2, 3], [1, 2, 4]):
    table = pd.DataFrame({"step": steps, "loss": [3.0, 2.0, 1.0]}).set_index("step")
    table.to_parquet("run.parquet")
    print(steps, type(table.index).__name__, pq.read_schema("run.parquet").names)
PY
"$folder/env/bin/pip" install --quiet pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
new=$("$folder/env/bin/python" columns.py)
"$folder/env/bin/pip" install --quiet pandas==2.3.3
old=$("$folder/env/bin/python" columns.py)
echo "$new"
echo "$old"
[ "$new" = "[1, 2, 3] RangeIndex ['loss']
[1, 2, 4] Index ['loss', 'step']" ]
[ "$old" = "[1, 2, 3] Index ['loss', 'step']
[1, 2, 4] Index ['loss', 'step']" ]
