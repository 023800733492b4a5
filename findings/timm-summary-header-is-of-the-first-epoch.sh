#!/usr/bin/env bash
# timm 1.0.31: summary.csv keeps the header of its first row, so that a validation every second epoch has no names.
#
# update_summary writes the header with the first row alone. Where validation comes every second epoch, the first row
# has no validation, and the rows that have one are three cells longer than the header. Where the first row has one, the
# rows without it have the learning rate under the name of the validation's loss. Either way a table reader shifts the
# columns without a word: pandas takes the epochs for an index and the rate for a loss.
#
# Seen with timm 1.0.31, pandas 2.3.3, Python 3.11: the header epoch,train_loss,lr above 0,1.0,0.1 and
# 1,1.0,0.5,50.0,90.0,0.1; the other way round the rate 0.1 stands under eval_loss
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
# update_summary needs nothing but the standard library
"$folder/env/bin/pip" install --quiet --no-deps timm==1.0.31
"$folder/env/bin/pip" install --quiet pandas==2.3.3
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import importlib.util
from collections import OrderedDict
from pathlib import Path

import pandas as pd

place = Path(importlib.util.find_spec("timm").submodule_search_locations[0]) / "utils" / "summary.py"
spec = importlib.util.spec_from_file_location("summary", place)
summary = importlib.util.module_from_spec(spec)
spec.loader.exec_module(summary)


def written(name, evaluates):
    for epoch in range(2):
        evaluated = OrderedDict(loss=0.5, top1=50.0, top5=90.0) if evaluates(epoch) else None
        header = not Path(name).exists()
        summary.update_summary(epoch, OrderedDict(loss=1.0), evaluated, filename=name, lr=0.1, write_header=header)
    print(Path(name).read_text())
    return Path(name).read_text().splitlines()


lines = written("second.csv", lambda epoch: epoch % 2 == 1)
assert lines == ["epoch,train_loss,lr", "0,1.0,0.1", "1,1.0,0.5,50.0,90.0,0.1"]
lines = written("first.csv", lambda epoch: epoch % 2 == 0)
assert lines[2] == "1,1.0,0.1"
assert pd.read_csv("first.csv")["eval_loss"].tolist() == [0.5, 0.1]
PY
