"""DVCLive's folders: params.yaml, metrics.json and one table for each metric."""

from __future__ import annotations

from dvclive import Live
from logged import output, runs


def main() -> None:
    folder = output()
    for run in runs():
        with Live(str(folder / run.name), save_dvc_exp=False, dvcyaml=None) as live:
            live.log_params(run.hyperparameters)
            for _, loss, accuracy in run.rows():
                live.log_metric("train/loss", loss)
                live.log_metric("valid/accuracy", accuracy)
                live.next_step()


if __name__ == "__main__":
    main()
