"""The training of a stage: steps, reports, validations, checkpoints."""

import logging
import math
from pathlib import Path
from typing import Any, Optional

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..config import Config
from ..data.reader import Batch, DatasetInfo, TrainingStream, dataset_info
from ..device import Device, ranks_started, set_up_training_device
from ..errors import UserError
from .loss_curve import draw_loss_curve
from .networks import build_network, describe_network, starting_weights
from .progress import Progress, describe, describe_heads, scalars
from .run_folder import RunFolder
from .stopping import StopRequest

logger = logging.getLogger(__name__)


def train(config: Config) -> Optional[Path]:
    """Train one stage, from the start or from where a stopped run of the same settings was.

    Returns:
        The last checkpoint; None in the scheduler process of a run on several devices.

    Raises:
        UserError: bad input, settings that differ from those of the run in ``save_ckpt``, or a loss that is not finite.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    info = dataset_info(config.traindata_path)
    run = RunFolder(config, {"dataset": info.fingerprint, "ranks": ranks_started(), **starting_weights(config)})
    finished = run.finished()
    if finished:
        logger.info("%s: already trained", finished)
        return finished
    device = set_up_training_device(config.device_target, config.seed, config.amp_level)
    if device is None:
        return None
    if not device.is_first:
        logging.getLogger().setLevel(logging.WARNING)  # the first rank speaks for all
    stream = TrainingStream(config, info, device.rank, device.ranks)
    network = build_network(config, info.num_classes)
    with logging_redirect_tqdm():  # log lines go above the progress bar, not into it
        return Trainer(config, device, network, run, info).run_steps(stream)


class Trainer:
    """One run of a stage in this process; of several ranks, the first writes every file."""

    def __init__(self, config: Config, device: Device, network: Any, run: RunFolder, info: DatasetInfo) -> None:
        from .events import open_events
        from .state import load_state
        from .step import TrainStep
        from .validation import Validation

        self.config = config
        self.device = device
        self.network = network
        self.run = run
        self.step_cell = TrainStep(network, config, device.ranks)
        self.steps_done = load_state(self.step_cell, run.state_path) if run.can_resume() else 0
        self.validation = (
            Validation(network, config, info, device) if config.eval_photos and info.num_validation else None
        )
        self.progress = Progress(network.HEADS, config.batch_size * device.ranks, config.max_iters)
        wants_events = config.tensorboard and device.is_first
        self.events = open_events(run.path / f"{run.stage}_events", self.steps_done) if wants_events else None
        device.wait_for_ranks()  # all have read the folder before one writes it
        if device.is_first:
            run.start(self.steps_done)  # only now: bad input leaves nothing behind
        self._describe(info)

    def _describe(self, info: DatasetInfo) -> None:
        config, photos = self.config, self.config.batch_size * self.device.ranks
        logger.info(
            "stage %s on %d %s, %s: steps %d to %d of %d photos at %d px, %d photos of %d classes an epoch (%d steps)",
            config.train_state, self.device.ranks, self.device.target,
            "float32" if config.amp_level == "O0" else "float16", self.steps_done + 1, config.max_iters, photos,
            config.image_size, info.num_train, info.num_classes, info.num_train // photos,
        )  # fmt: skip
        describe_network(self.network)
        if self.steps_done:
            logger.info("going on after step %d, from %s", self.steps_done, self.run.state_path)
        if self.validation is None:
            logger.info(
                "no validation: %s", "eval_photos is 0" if info.num_validation else "the data set has no such photos"
            )

    def run_steps(self, stream: TrainingStream) -> Path:
        """Make the remaining steps and return the last checkpoint."""
        config, first = self.config, self.steps_done
        bar = tqdm(total=config.max_iters, initial=first, desc=config.train_state, unit="step",
                   disable=None if self.device.is_first else True)  # fmt: skip
        with StopRequest() as stop, bar:
            batches = self.progress.waiting_for(stream.batches(config.max_iters, first))
            for self.steps_done, batch in enumerate(batches, first + 1):
                stopping = self._step(batch, stop)
                bar.update()
                self._after_step(batch, stopping)
                if stopping and self.steps_done < config.max_iters:
                    self._close()
                    stop.raise_stopped(
                        f"stopped after step {self.steps_done} of {config.max_iters}, all saved in {self.run.path}: "
                        "run the same command again to go on"
                    )
        self._close()
        checkpoint = self.run.checkpoints()[-1]
        if self.device.is_first:
            self.run.finish(checkpoint)
            logger.info("wrote %s", checkpoint)
        return checkpoint

    def _learning_rate(self) -> float:
        """Of the step that was made last."""
        return self.config.initial_lr * (1 - (self.steps_done - 1) / self.config.max_iters)

    def _step(self, batch: Batch, stop: StopRequest) -> bool:
        """Make one step; True when a signal has asked any rank to stop."""
        import mindspore as ms

        if not self.step_cell.training:  # at the start and after a validation
            self.step_cell.set_train()
        asked = np.float32(stop.number != 0)
        outputs = self.step_cell(ms.Tensor(batch.images), ms.Tensor(batch.labels), ms.Tensor(asked))
        figures = outputs[0].asnumpy().mean(1, dtype=np.float64).tolist()
        any_asked, norm = outputs[1].asnumpy().tolist()
        overflow_is_normal = self.config.amp_level == "O2" and self.step_cell.scaler.scale_value.asnumpy() > 1
        if not all(map(math.isfinite, figures)) or not (math.isfinite(norm) or overflow_is_normal):
            raise UserError(
                f"step {self.steps_done}: losses and accuracies {figures}, gradient norm {norm} at learning rate "
                f"{self._learning_rate():g}, photos {', '.join(batch.file_ids)}: lower `initial_lr`"
            )
        self.progress.add(np.array([*figures, norm]))
        return any_asked > 0 or (self.device.ranks == 1 and stop.number != 0)

    def _after_step(self, batch: Batch, stopping: bool) -> None:
        config, step = self.config, self.steps_done
        last = stopping or step == config.max_iters
        if last or step % config.report_steps == 0:
            self._report()
        validates = self.validation is not None and (step == config.max_iters or step % config.eval_steps == 0)
        if validates:
            self._validate(batch)
        saves = last or step % config.save_ckpt_step == 0
        if saves:
            self._save(batch)
        if validates or saves:
            self.progress.skip_time()

    def _report(self) -> None:
        line = self.progress.summary(self.steps_done, self._learning_rate())
        if self.device.is_first:
            self._put_down(line)
            logger.info(describe(line, self.config.max_iters))

    def _put_down(self, line: dict) -> None:
        self.run.add_metrics(line)
        if self.events:
            self.events.add(line["step"], scalars(line))

    def _validate(self, batch: Batch) -> None:
        from ..model.checkpoint import save_weights

        measured = self.validation.measure()
        if not self.device.is_first:
            return
        best = self.run.is_best(measured["validation_losses"])
        if best:
            save_weights(self.network, self.run.best_path(batch.epoch + 1, self.steps_done))
        self._put_down({"step": self.steps_done, **measured})
        heads = describe_heads(measured["validation_losses"], measured["validation_accuracies"])
        logger.info("step %d, validation: %s%s", self.steps_done, heads, ", the best so far" if best else "")

    def _save(self, batch: Batch) -> None:
        """The checkpoint first: a run killed between the two files makes it again."""
        from ..model.checkpoint import save_weights
        from .state import save_state

        if self.device.is_first:
            save_weights(self.network, self.run.checkpoint_path(batch.epoch + 1, self.steps_done))
            save_state(self.step_cell, self.steps_done, self.run.state_path)
            self.run.prune()
        self.device.wait_for_ranks()  # none ends the job while the first still writes

    def _close(self) -> None:
        if self.device.is_first:
            draw_loss_curve(self.run.metrics_path, self.run.path / f"{self.run.stage}_loss.png", self.run.stage)
        if self.events:
            self.events.close()
