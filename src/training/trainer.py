"""The training loop of both stages."""

import logging
import math
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from src.config import Config
from src.data.reader import TrainingStream, dataset_info
from src.device import set_up_device
from src.errors import UserError
from src.files import require_file, sha256_of
from src.training.run_folder import RunFolder

logger = logging.getLogger(__name__)


def train(config: Config) -> Path:
    """Train one stage and return its last checkpoint; a run finished under the same settings is not repeated.

    Raises:
        UserError: bad input, settings that differ from those of the run in ``save_ckpt``, or a loss that is not finite.
    """
    info = dataset_info(config.traindata_path)
    run = RunFolder(config, {"dataset": info.fingerprint, **_starting_weights(config)})
    finished = run.finished()
    if finished:
        logger.info("%s: already trained", finished)
        return finished
    set_up_device(config.device_target, config.seed)
    network = _build_network(config, info.num_classes)
    run.start()  # only now: bad input leaves nothing behind
    _describe(network, info.num_train, config)
    with logging_redirect_tqdm():  # log lines go above the progress bar, not into it
        return _run_steps(config, network, run, info)


def _starting_weights(config: Config) -> Dict[str, str]:
    """SHA-256 of the files that the weights start from, by option."""
    if config.train_state == "attn" and not config.checkpoint_path:
        raise UserError("stage attn needs the checkpoint that stage tuning wrote: give --checkpoint_path")
    paths = {name: getattr(config, name) for name in ("imagenet_checkpoint", "checkpoint_path")}
    if config.train_state == "attn" or config.checkpoint_path:
        paths.pop("imagenet_checkpoint")  # the checkpoint holds a backbone already
    return {f"{name}_sha256": sha256_of(require_file(path, f"--{name}")) for name, path in paths.items() if path}


def _build_network(config: Config, num_classes: int) -> Any:
    from src.model.checkpoint import load_weights
    from src.model.delf import AttentionNet, TuningNet
    from src.model.pretrained import load_pretrained

    if config.train_state == "attn":
        network = AttentionNet(config, num_classes)
        load_weights(network, config.checkpoint_path, ["backbone"])
    else:
        network = TuningNet(config, num_classes)
        start = config.checkpoint_path or config.imagenet_checkpoint
        if start:
            load_pretrained(network, start, config.load_stem)
    return network


def _describe(network: Any, num_train: int, config: Config) -> None:
    trainable = sum(parameter.size for parameter in network.trainable_params())
    total = sum(parameter.size for parameter in network.get_parameters())
    logger.info(
        "stage %s: %.2f M of %.2f M parameters train; %d photos, %d steps of %d at %d px (%.1f epochs)",
        config.train_state, trainable / 1e6, total / 1e6, num_train, config.max_iters, config.batch_size,
        config.image_size, config.max_iters * config.batch_size / num_train,
    )  # fmt: skip


def _run_steps(config: Config, network: Any, run: RunFolder, info: Any) -> Path:
    import mindspore as ms

    from src.model.checkpoint import save_weights
    from src.training.step import TrainStep

    step_cell = TrainStep(network, config)
    step_cell.set_train()
    network.set_train()  # after the line above, which would put a frozen backbone in training mode
    stream = TrainingStream(config, info)
    window: List[Tuple[float, ...]] = []
    started = time.monotonic()
    progress = tqdm(stream.batches(config.max_iters), total=config.max_iters, desc=config.train_state, unit="step")
    for step, batch in enumerate(progress, 1):
        outputs = step_cell(ms.Tensor(batch.images), ms.Tensor(batch.labels))
        loss, accuracy, norm = (float(value.asnumpy()) for value in outputs)
        rate = config.initial_lr * (1 - (step - 1) / config.max_iters)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"step {step}: loss {loss}, gradient norm {norm} at learning rate {rate:g}, photos "
                f"{', '.join(batch.file_ids[:8])}: lower --initial_lr"
            )
        window.append((loss, accuracy, norm))
        progress.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.2f}", refresh=False)
        if step % config.report_steps == 0 or step == config.max_iters:
            _report(run, step, config, rate, window, time.monotonic() - started)
            window.clear()
        if step % config.save_ckpt_step == 0 or step == config.max_iters:
            checkpoint = run.checkpoint_path(batch.epoch + 1, step)
            save_weights(network, checkpoint)
            run.prune()
    run.finish(checkpoint)
    logger.info("wrote %s", checkpoint)
    return checkpoint


def _report(
    run: RunFolder, step: int, config: Config, rate: float, window: List[Tuple[float, ...]], seconds: float
) -> None:
    loss, accuracy, norm = (sum(column) / len(window) for column in zip(*window))
    speed = step * config.batch_size / seconds
    run.add_metrics(
        {"step": step, "loss": loss, "accuracy": accuracy, "gradient_norm": norm, "learning_rate": rate,
         "images_per_second": speed}
    )  # fmt: skip
    logger.info(
        "step %d/%d: loss %.4f, accuracy %.3f, gradient norm %.2f, learning rate %.5f, %.1f images/s",
        step, config.max_iters, loss, accuracy, norm, rate, speed,
    )  # fmt: skip
