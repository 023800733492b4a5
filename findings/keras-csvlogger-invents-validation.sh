#!/usr/bin/env bash
# keras 3.15.1: CSVLogger writes val_ columns for a training without validation, also of the learning rate.
#
# The header has a partner val_X for each logged X, so that later epochs may have it. Without validation the partner is
# NA in every row, and a scheduler that logs its rate gives val_learning_rate. A diverged loss is nan in the same file.
# Readers that take NA and nan alike, as pandas does by default, cannot tell an epoch that was not evaluated from one
# that diverged, and readers that look for val_ to find validation see some where there is none.
#
# Seen with keras 3.15.1, torch 2.13.0, pandas 2.3.3, Python 3.11: the header epoch,learning_rate,loss,val_learning_rate,val_loss;
# NA in both val_ columns, nan as the loss, and pandas reads all three as missing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0
"$folder/env/bin/pip" install --quiet keras==3.15.1 pandas==2.3.3
cd "$folder"
KERAS_BACKEND=torch "$folder/env/bin/python" - <<'PY'
from pathlib import Path

import keras
import numpy as np
import pandas as pd

x = np.ones((4, 1), "float32")
model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse")
callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate), keras.callbacks.CSVLogger("log.csv")]
model.fit(x, np.full((4, 1), np.nan, "float32"), epochs=2, verbose=0, callbacks=callbacks)
lines = Path("log.csv").read_text().splitlines()
print("\n".join(lines))
assert lines[0] == "epoch,learning_rate,loss,val_learning_rate,val_loss"
assert all(line.split(",")[2:] == ["nan", "NA", "NA"] for line in lines[1:])
assert pd.read_csv("log.csv")[["loss", "val_loss"]].isna().all(axis=None)
PY
