"""The training of a stage: steps, reports, validations, checkpoints."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn
from tqdm import tqdm

from ..data.reader import Batch, TrainingStream
from ..device import Device
from ..errors import UserError
from ..model.weights import save_weights
from ..stop_signals import StopSignals
from .model_card import peak_memory
from .networks import describe_network
from .progress import Line, StepTimes, blind_heads, describe, describe_heads, draw_loss_curve, open_events, scalars
from .run_folder import RunFolder
from .step import TrainStep, average_statistics, learning_rate, load_state, save_state
from .validation import Validation

logger = logging.getLogger(__name__)

_STEPS_TO_BEGIN = 100  # before these no head need have learnt anything


class Trainer:
    """One run of a stage in this process; of several ranks, the first writes every file.

    Args:
        network: what is saved.
        learner: the part of it that takes the batches of ``stream`` and learns; mostly the network itself.
        device: of this process.
        folder: where the run is kept.
        stream: of the training set; it also gives the recipe's section and the validation photos.
    """

    def __init__(
        self, network: nn.Cell, learner: nn.Cell, device: Device, folder: RunFolder, stream: TrainingStream
    ) -> None:
        info, training = stream.info, stream.training
        self.network = network
        self.training = training
        self.device = device
        self.folder = folder
        self.stream = stream
        self.step_cell = TrainStep(learner, training, device.ranks)
        self.steps_done = load_state(self.step_cell, folder.state_path) if folder.can_resume() else 0
        if self.steps_done > training.max_iters:
            raise UserError(
                f"{folder.state_path}: {self.steps_done} steps are done, and `max_iters` is {training.max_iters}; give "
                f"{self.steps_done} or more, another `save_ckpt`, or `overwrite`"
            )
        self.earlier_max_iters = folder.earlier_max_iters() if self.steps_done else training.max_iters
        validates = training.eval_photos and info.num_validation
        self.validation = Validation(learner, stream, device) if validates else None
        self.times = StepTimes(network.HEADS, training.batch_size * device.ranks, training.max_iters)
        wants_events = training.tensorboard and device.is_first
        self.events = open_events(folder.path / f"{folder.stage}_events", self.steps_done) if wants_events else None
        device.wait_for_ranks()  # all have read the folder before one writes it
        if device.is_first:
            folder.start(self.steps_done)  # only now: bad input leaves nothing behind
        self._describe()

    def _describe(self) -> None:
        training, info, photos = self.training, self.stream.info, self.training.batch_size * self.device.ranks
        logger.info(
            "stage %s on %d %s, %s: steps %d to %d of %d photos at %d px, %d photos of %d classes an epoch (%d steps)",
            training.train_state, self.device.ranks, self.device.target,
            "float32" if training.amp_level == "O0" else "float16", self.steps_done + 1, training.max_iters, photos,
            training.image_size, info.num_train, info.num_classes, info.num_train // photos,
        )  # fmt: skip
        describe_network(self.network)
        if self.steps_done:
            logger.info("going on after step %d, from %s", self.steps_done, self.folder.state_path)
        if self.earlier_max_iters != training.max_iters:
            earlier = replace(training, max_iters=self.earlier_max_iters)
            logger.info(
                "`max_iters` was %d and is %d: the learning rate falls linearly to 0 at the new end, so it goes on at "
                "%.3g instead of %.3g", earlier.max_iters, training.max_iters,
                learning_rate(training, self.steps_done), learning_rate(earlier, self.steps_done),
            )  # fmt: skip
        if self.validation is None:
            logger.info(
                "no validation: %s", "eval_photos is 0" if info.num_validation else "the data set has no such photos"
            )

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
        asked = np.float32(stop.number != 0)
        outputs = self.step_cell(ms.Tensor(batch.images), ms.Tensor(batch.labels), ms.Tensor(asked))
        figures = outputs[0].asnumpy().mean(1, dtype=np.float64).tolist()
        any_asked, norm = outputs[1].asnumpy().tolist()
        overflow_is_normal = self.training.amp_level == "O2" and self.step_cell.scaler.scale_value.asnumpy() > 1
        if not all(map(math.isfinite, figures)) or not (math.isfinite(norm) or overflow_is_normal):
            rate = learning_rate(self.training, self.steps_done - 1)
            raise UserError(
                f"step {self.steps_done}: losses and accuracies {figures}, gradient norm {norm} at learning rate "
                f"{rate:g}, photos {', '.join(batch.file_ids)}: lower `initial_lr`"
            )
        self.times.add(np.array([*figures, norm]))
        return any_asked > 0 or (self.device.ranks == 1 and stop.number != 0)

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
        line = self.times.summary(self.steps_done, learning_rate(self.training, self.steps_done - 1))
        if self.device.is_first:
            line.update(seconds=round(self.folder.seconds(), 1), peak_memory_gb=round(peak_memory(), 2))
            self._record(line)
            logger.info(describe(line, self.training.max_iters))
            self._warn_of_blind_heads(line)

    def _warn_of_blind_heads(self, line: Line) -> None:
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
        best = self.folder.is_best(measured["validation_losses"])
        if best:
            save_weights(self.network, self.folder.best_path(batch.epoch + 1, self.steps_done))
        self._record({"step": self.steps_done, **measured})
        heads = describe_heads(measured["validation_losses"], measured["validation_accuracies"])
        logger.info("step %d, validation: %s%s", self.steps_done, heads, ", the best so far" if best else "")

    def _save(self, epoch: int) -> None:
        """The checkpoint first: a run killed between the two files makes it again."""
        if self.device.is_first:
            save_weights(self.network, self.folder.checkpoint_path(epoch + 1, self.steps_done))
            save_state(self.step_cell, self.steps_done, self.folder.state_path)
            self.folder.prune()
        self.device.wait_for_ranks()  # none ends the job while the first still writes

    def _close(self) -> None:
        if self.device.is_first:
            draw_loss_curve(
                self.folder.metrics_path, self.folder.path / f"{self.folder.stage}_loss.png", self.folder.stage
            )
        if self.events:
            self.events.close()
