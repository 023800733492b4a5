"""The summary.csv and the args.yaml of timm, as the lines of its train.py write them after each epoch."""

from __future__ import annotations

from collections import OrderedDict

import torch
import yaml
from logged import EPOCH, output, runs
from timm import utils


def mean(value: float) -> float:
    """A meter's mean over the batches of an epoch, of a tensor as a loss function gives it."""
    meter = utils.AverageMeter()
    for _ in range(EPOCH):
        meter.update(torch.tensor(value).item(), 1)
    return meter.avg


def main() -> None:
    folder = output()
    for run in runs():
        directory = utils.get_outdir(str(folder), run.name)
        arguments = {"model": "resnet18", "opt": run.optimizer, "lr": run.lr, "sched": "none", "seed": run.seed}
        (folder / run.name / "args.yaml").write_text(yaml.safe_dump(arguments, default_flow_style=False))
        for epoch, (_, loss, accuracy) in enumerate(run.rows()):
            utils.update_summary(
                epoch,
                OrderedDict([("loss", mean(loss))]),
                OrderedDict([("loss", mean(loss)), ("top1", mean(100 * accuracy)), ("top5", mean(100.0))]),
                filename=f"{directory}/summary.csv",
                lr=run.lr,
                write_header=epoch == 0,
            )


if __name__ == "__main__":
    main()
