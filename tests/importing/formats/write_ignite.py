"""The event files of PyTorch-Ignite's TensorboardLogger, whose evaluator knows no step of the trainer."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import TensorboardLogger
from ignite.metrics import Average
from logged import EPOCH, Run, output, runs


def log(run: Run, folder: str) -> None:
    """Ten epochs of ten batches, with an evaluation after each."""
    trainer = Engine(lambda engine, _: run.loss[engine.state.epoch - 1])
    evaluator = Engine(lambda *_: run.accuracy[trainer.state.epoch - 1])
    Average().attach(evaluator, "accuracy")
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run(range(EPOCH)))
    with TensorboardLogger(log_dir=folder) as logger:
        logger.attach_output_handler(
            trainer,
            event_name=Events.ITERATION_COMPLETED(every=EPOCH),
            tag="training",
            output_transform=lambda loss: {"loss": loss},
        )
        # many a user forgets global_step_transform here
        logger.attach_output_handler(
            evaluator, event_name=Events.EPOCH_COMPLETED, tag="validation", metric_names=["accuracy"]
        )
        trainer.run(range(EPOCH), max_epochs=len(run.loss))


def main() -> None:
    folder = output()
    for run in runs():
        log(run, str(folder / run.name))


if __name__ == "__main__":
    main()
