#!/usr/bin/env bash
# transformers 5.24.0: the default logging_nan_inf_filter logs a loss of 0.0 for nan, and a wrong mean beside nan.
#
# The filter replaces a step's loss of nan by the running sum divided by one more than the steps so far. So a window of
# logging_steps that is all nan is logged as 0.0, the best loss there is. A window that is half nan is logged below
# every loss that was measured in it: ten steps, five of loss 1.0 and five of nan, give 0.9167. Whoever ranks runs by
# trainer_state.json ranks a training that diverged first.
#
# Seen with transformers 5.24.0, torch 2.13.0, Python 3.11: logged losses 1.0, 0.9167, 0.0 and train_loss 0.6389 with the
# filter; 1.0, nan, nan without it
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0
"$folder/env/bin/pip" install --quiet transformers==5.24.0 accelerate==1.15.0
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import math

import torch
import transformers


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, labels):
        return {"logits": x + 0 * self.weight}


class Trainer(transformers.Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = 1.0 if self.state.global_step < 15 else float("nan")
        return model(**inputs)["logits"].sum() * 0 + loss


def logged(keep):
    arguments = transformers.TrainingArguments(
        "out", max_steps=30, logging_steps=10, per_device_train_batch_size=1, report_to="none", use_cpu=True,
        disable_tqdm=True, save_strategy="no", logging_nan_inf_filter=keep,
    )
    data = [{"x": torch.zeros(1), "labels": torch.zeros(1)}] * 30
    trainer = Trainer(model=Model(), args=arguments, train_dataset=data)
    trainer.train()
    history = trainer.state.log_history
    return [entry["loss"] for entry in history if "loss" in entry], history[-1]["train_loss"]


losses, whole = logged(True)
print("with the filter", losses, whole)
assert losses[0] == 1.0 and abs(losses[1] - 0.9167) < 1e-3 and losses[2] == 0.0 and abs(whole - 0.6389) < 1e-3
losses, _ = logged(False)
print("without the filter", losses)
assert losses[0] == 1.0 and math.isnan(losses[1]) and math.isnan(losses[2])
PY
