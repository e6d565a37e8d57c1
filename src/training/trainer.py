"""The training of a stage: steps, reports, validations, checkpoints."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Optional

import numpy as np
from mindspore import nn
from tqdm import tqdm

from ..config import METRIC_STAGES
from ..data.reader import Batch, TrainingStream
from ..device import Device
from ..errors import UserError
from ..model.weights import save_weights
from ..stop_signals import StopSignals
from .model_card import peak_memory
from .networks import describe_network
from .progress import Line, StepTimes, blind_heads, describe, describe_validation, draw_loss_curve, open_events, scalars
from .run_folder import RunFolder
from .step import average_statistics, load_state, save_state
from .validation import Measures

logger = logging.getLogger(__name__)

_STEPS_TO_BEGIN = 100  # before these no head need have learnt anything


class Trainer:
    """One run of a stage in this process; of several ranks, the first writes every file.

    Args:
        network: what is saved.
        step_cell: makes a step of a batch of ``stream``, see ``TrainStep``.
        device: of this process.
        folder: where the run is kept.
        stream: of the training set; it also gives the recipe's section.
        validation: measures the network; None = no validation photos, or none are wanted.
    """

    def __init__(
        self,
        network: nn.Cell,
        step_cell: nn.Cell,
        device: Device,
        folder: RunFolder,
        stream: TrainingStream,
        validation: Optional[Measures] = None,
    ) -> None:
        training = stream.training
        self.network = network
        self.training = training
        self.device = device
        self.folder = folder
        self.stream = stream
        self.step_cell = step_cell
        self.steps_done = load_state(step_cell.state, folder.state_path) if folder.can_resume() else 0
        if self.steps_done > training.max_iters:
            raise UserError(
                f"{folder.state_path}: {self.steps_done} steps are done, and `max_iters` is {training.max_iters}; give "
                f"{self.steps_done} or more, another `save_ckpt`, or `overwrite`"
            )
        self.earlier_max_iters = folder.earlier_max_iters() if self.steps_done else training.max_iters
        self.validation = validation
        self.times = StepTimes(step_cell.heads, stream.photos_a_step * device.ranks, training.max_iters)
        wants_events = training.tensorboard and device.is_first
        self.events = open_events(folder.path / f"{folder.stage}_events", self.steps_done) if wants_events else None
        device.wait_for_ranks()  # all have read the folder before one writes it
        if device.is_first:
            folder.start(self.steps_done)  # only now: bad input leaves nothing behind
        self._describe()

    def _describe(self) -> None:
        training, info = self.training, self.stream.info
        logger.info(
            "stage %s on %d %s, %s: steps %d to %d of %s, %d photos of %d classes an epoch (%d steps)",
            training.train_state, self.device.ranks, self.device.target,
            "float32" if training.amp_level == "O0" else "float16", self.steps_done + 1, training.max_iters,
            self.stream.step_in_words, info.num_train, info.num_classes, self.stream.steps_per_epoch,
        )  # fmt: skip
        describe_network(self.network)
        if self.steps_done:
            logger.info("going on after step %d, from %s", self.steps_done, self.folder.state_path)
        schedule = self.step_cell.schedule
        earlier = replace(schedule, max_iters=self.earlier_max_iters)
        if schedule.at(self.steps_done) != earlier.at(self.steps_done):
            logger.info(
                "`max_iters` was %d and is %d: the learning rate falls linearly to 0 at the new end, so it goes on at "
                "%.3g instead of %.3g", earlier.max_iters, training.max_iters,
                schedule.at(self.steps_done), earlier.at(self.steps_done),
            )  # fmt: skip
        if self.validation is None:
            reason = "eval_photos is 0" if training.eval_photos == 0 else "the data set has no photos for it"
            logger.info("no validation: %s", reason)

    def run_steps(self) -> Path:
        """Make the remaining steps and return the last checkpoint."""
        training, first = self.training, self.steps_done
        bar = tqdm(total=training.max_iters, initial=first, desc=training.train_state, unit="step",
                   disable=None if self.device.is_first else True)  # fmt: skip
        with StopSignals() as stop, bar:
            batches = self.times.waiting_for(self.stream.batches(training.max_iters, first))
            for self.steps_done, batch in enumerate(batches, first + 1):
                stopping = self._step(batch, stop)
                bar.update()
                self._after_step(batch, stopping)
                if stopping and self.steps_done < training.max_iters:
                    self._close()
                    stop.raise_stopped(
                        f"stopped after step {self.steps_done} of {training.max_iters}, all saved in "
                        f"{self.folder.path}: run the same command again to go on"
                    )
        if self.steps_done == first:  # no step was left to make; the checkpoint may have been deleted since
            self._save(self.stream.epoch_of(self.steps_done - 1))
        self._close()
        checkpoint = self.folder.checkpoints()[-1]
        if self.device.is_first:
            self.folder.finish(checkpoint, self.stream.info, f"{self.device.ranks} {self.device.target}")
            logger.info("wrote %s", checkpoint)
        return checkpoint

    def _step(self, batch: Batch, stop: StopSignals) -> bool:
        """Make one step; True when a signal has asked any rank to stop."""
        if not self.step_cell.training:  # at the start and after a validation
            self.step_cell.set_train()
        figures, asked, norm = self.step_cell.make(batch, stop.number != 0)
        if not all(map(math.isfinite, figures)) or not (math.isfinite(norm) or self.step_cell.overflows):
            rate = self.step_cell.schedule.at(self.steps_done - 1)
            raise UserError(
                f"step {self.steps_done}: losses and accuracies {figures}, gradient norm {norm} at learning rate "
                f"{rate:g}, photos {', '.join(batch.file_ids)}: lower `initial_lr`"
            )
        self.times.add(np.array([*figures, norm]))
        return asked or (self.device.ranks == 1 and stop.number != 0)

    def _after_step(self, batch: Batch, stopping: bool) -> None:
        training, step = self.training, self.steps_done
        last = stopping or step == training.max_iters
        if last or step % training.report_steps == 0:
            self._report()
        validates = self.validation is not None and (step == training.max_iters or step % training.eval_steps == 0)
        saves = last or step % training.save_ckpt_step == 0
        if validates or saves:
            average_statistics(self.network, self.device)
        if validates:
            self._validate(batch)
        if saves:
            self._save(batch.epoch)
        if validates or saves:
            self.times.skip_time()

    def _report(self) -> None:
        line = self.times.summary(self.steps_done, self.step_cell.schedule.at(self.steps_done - 1))
        if self.device.is_first:
            line.update(seconds=round(self.folder.seconds(), 1), peak_memory_gb=round(peak_memory(), 2))
            self._record(line)
            logger.info(describe(line, self.training.max_iters))
            self._warn_of_blind_heads(line)

    def _warn_of_blind_heads(self, line: Line) -> None:
        if self.training.train_state in METRIC_STAGES:  # their losses start elsewhere
            return
        classes = self.stream.info.num_classes
        for head in blind_heads(line["losses"], classes) if self.steps_done >= _STEPS_TO_BEGIN else ():
            logger.warning(
                "the %s head still guesses: its loss is log(%d classes) = %.2f. If it stays there, give another "
                "`initial_lr` or `optimizer` adam; a rate too high silences an attention for good", head, classes,
                math.log(classes),
            )  # fmt: skip

    def _record(self, line: Line) -> None:
        self.folder.add_metrics(line)
        if self.events:
            self.events.add(line["step"], scalars(line))

    def _validate(self, batch: Batch) -> None:
        measured = self.validation.measure()
        if not self.device.is_first:
            return
        best = self.folder.is_best(measured)
        if best:
            save_weights(self.network, self.folder.best_path(batch.epoch + 1, self.steps_done))
        self._record({"step": self.steps_done, **measured})
        best_words = ", the best so far" if best else ""
        logger.info("step %d, validation: %s%s", self.steps_done, describe_validation(measured), best_words)

    def _save(self, epoch: int) -> None:
        """The checkpoint first: a run killed between the two files makes it again."""
        if self.device.is_first:
            save_weights(self.network, self.folder.checkpoint_path(epoch + 1, self.steps_done))
            save_state(self.step_cell.state, self.steps_done, self.folder.state_path)
            self.folder.prune()
        self.device.wait_for_ranks()  # none ends the job while the first still writes

    def _close(self) -> None:
        if self.device.is_first:
            draw_loss_curve(
                self.folder.metrics_path, self.folder.path / f"{self.folder.stage}_loss.png", self.folder.stage
            )
        if self.events:
            self.events.close()
