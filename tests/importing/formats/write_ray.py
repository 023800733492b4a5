"""Ray Tune's folders: a grid of the ten runs, each with progress.csv, result.json and params.json."""

from __future__ import annotations

import platform

from logged import RATES, output, runs
from ray import init, tune


def main() -> None:
    folder = output().resolve()
    curves = {(run.optimizer, run.seed): list(run.rows()) for run in runs()}

    def trainable(config: dict) -> None:
        platform.node = lambda: "host"  # a trial runs in a process of its own
        for _, loss, accuracy in curves[config["optimizer"], config["seed"]]:
            tune.report({"loss": loss, "accuracy": accuracy})

    init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    space = {
        "optimizer": tune.grid_search(list(RATES)),
        "seed": tune.grid_search(list(range(5))),
        "lr": tune.sample_from(lambda config: RATES[config["optimizer"]]),
    }
    tune.Tuner(
        trainable, param_space=space, run_config=tune.RunConfig(name="digits", storage_path=str(folder), verbose=0)
    ).fit()


if __name__ == "__main__":
    main()
