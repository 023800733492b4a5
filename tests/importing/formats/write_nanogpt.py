"""The text that nanoGPT's train.py prints, with its own formats, of runs that evaluate every ten iterations."""

from __future__ import annotations

import random

from logged import EPOCH, Run, output, runs

START = """\
tokens per iteration will be: 16,384
found vocab_size = 65 (inside data/shakespeare_char/meta.pkl)
Initializing a new model from scratch
number of parameters: 10.65M
num decayed parameter tensors: 26, with 10,740,096 parameters
num non-decayed parameter tensors: 13, with 4,992 parameters
using fused AdamW: True
compiling the model... (takes a ~minute)
"""


def lines(run: Run) -> list[str]:
    """Its first evaluation is that of iteration 0, which the curves lack; its only optimizer is AdamW."""
    times = random.Random(run.seed)
    steps = {0: (1.0, 0.1), **{step: (loss, accuracy) for step, loss, accuracy in run.rows()}}
    out_dir, best = f"out-{run.name}", float("inf")
    texts = [
        f"Overriding: {key} = {value}"
        for key, value in {
            "out_dir": out_dir,
            "eval_interval": EPOCH,
            "learning_rate": run.lr,
            "max_iters": 100,
        }.items()
    ]
    texts += START.splitlines()
    for iteration, (loss, accuracy) in steps.items():
        val_loss = 1 - accuracy
        texts.append(f"step {iteration}: train loss {loss:.4f}, val loss {val_loss:.4f}")
        if val_loss < best:
            best = val_loss
            if iteration > 0:
                texts.append(f"saving checkpoint to {out_dir}")
        time, use = 20 + 10 * times.random(), -100.0 if iteration == 0 else 5 + times.random()
        texts.append(f"iter {iteration}: loss {loss:.4f}, time {time:.2f}ms, mfu {use:.2f}%")
    return texts


def main() -> None:
    folder = output()
    for run in runs():
        (folder / run.name).mkdir()
        (folder / run.name / "train.log").write_text("\n".join(lines(run)) + "\n")


if __name__ == "__main__":
    main()
