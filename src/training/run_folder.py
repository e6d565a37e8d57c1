"""The folder of one training run: resolved recipe, environment, log, metrics, checkpoints, state."""

import json
import logging
import platform
import re
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import yaml

from ..artifacts import atomic_write_json, atomic_write_text, git_commit, locked_folder, require_file, versions
from ..config import ModelConfig, RunConfig, TrainingConfig
from ..data.summary import DatasetInfo
from ..errors import LogFormatter, UserError, reading
from ..records import Provenance
from .model_card import model_card
from .progress import Line, read_metrics

# These may differ between two runs of the same result; of the files named by paths, the content counts (`sources`).
_IRRELEVANT = {
    "overwrite", "resume", "num_workers", "device_target", "save_ckpt", "save_ckpt_step", "keep_checkpoint_max",
    "eval_steps", "eval_photos", "report_steps", "tensorboard", "engine", "precision",
    "traindata_path", "imagenet_checkpoint", "checkpoint_path", "cache_path", "pairs_path",
}  # fmt: skip
_LARGEST_RECORD = 1 << 20  # bytes; one has 2,000


class RunFolder:
    """Names and keeps the files of a run; both stages may share a folder.

    Args:
        run, model, training: the resolved recipe; ``training.save_ckpt`` is the folder.
        sources: identities of the data set and of the starting weights.
        ranks: number of devices.
        more: keys of the recipe that only some stages use.
    """

    def __init__(
        self,
        run: RunConfig,
        model: ModelConfig,
        training: TrainingConfig,
        sources: Mapping[str, str],
        ranks: int = 1,
        more: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.path = Path(training.save_ckpt)
        self.stage = training.train_state
        self._resume = training.resume and not run.overwrite
        self._overwrite = run.overwrite
        self._keep = training.keep_checkpoint_max
        self._recipe = {**run.values(), **model.values(), **training.values(), **(more or {})}
        settings = {name: value for name, value in self._recipe.items() if name not in _IRRELEVANT}
        self._provenance = Provenance(settings={**settings, "ranks": ranks}, sources=sources)
        self._max_iters = training.max_iters
        self._began, self._kept = time.monotonic(), []
        self._record = self.path / f"{self.stage}.json"
        self.metrics_path = self.path / f"{self.stage}_metrics.jsonl"
        self.state_path = self.path / f"{self.stage}_state.ckpt"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder for this process alone; one that is made for it and stays empty is deleted again.

        Raises:
            UserError: another process trains there, or it is no folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is no folder; give another `save_ckpt`")
        is_new = not self.path.exists()
        with locked_folder(self.path, self.path, "save_ckpt"):
            try:
                yield
            finally:
                with suppress(OSError):  # it holds something
                    if is_new:
                        self.path.rmdir()

    def checkpoint_path(self, epoch: int, step: int) -> Path:
        """`checkpoint_delf_<stage>-<epoch>_<step>.ckpt`; ``epoch`` counts from 1, ``step`` is the global step."""
        return self.path / f"checkpoint_delf_{self.stage}-{epoch}_{step}.ckpt"

    def checkpoints(self) -> List[Path]:
        """This stage's checkpoints, oldest first; the best one is not among them."""
        return self._numbered("checkpoint")

    def _name_of(self, kind: str) -> "re.Pattern[str]":
        return re.compile(rf"{kind}_delf_{self.stage}-[0-9]+_([0-9]{{1,15}})\.ckpt")

    def _numbered(self, kind: str) -> List[Path]:
        pattern = self._name_of(kind)
        found = [(pattern.fullmatch(path.name), path) for path in self.path.glob(f"{kind}_delf_*.ckpt")]
        return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]

    def finished(self) -> Optional[Path]:
        """The last checkpoint of a run that was finished under the same settings, or None.

        A run whose ``max_iters`` alone was another goes on from its state, see ``earlier_max_iters``.

        Raises:
            UserError: the folder holds a run under other settings and ``overwrite`` is off, or its record is damaged.
        """
        if self._overwrite or not self._record.exists():
            return None
        provenance, checkpoint = self._read_record()
        names = self._provenance.differences(provenance)
        if names == ["max_iters"] and self.can_resume():
            return None
        if names:
            raise UserError(
                f"{self.path}: holds a {self.stage} run under other settings ({', '.join(names)}): "
                "give another `save_ckpt`, or `overwrite` to replace it"
            )
        last = self.path / checkpoint
        return last if last.is_file() and self._resume else None

    def _read_record(self) -> Tuple[Provenance, str]:
        """What the run in the folder is made with, and its last checkpoint's name, 'none' unless it is finished."""
        fix = "give another `save_ckpt`, or `overwrite`"
        with reading(require_file(self._record, "save_ckpt"), fix):
            if self._record.stat().st_size > _LARGEST_RECORD:
                raise ValueError(f"{self._record.stat().st_size} bytes long")
            stored = json.loads(self._record.read_text(encoding="utf-8"))
            checkpoint = stored["checkpoint"] or "none"
            if checkpoint != "none" and not self._name_of("checkpoint").fullmatch(checkpoint):
                raise ValueError("its checkpoint has no name of one")
            provenance = Provenance.from_json(stored["provenance"])
            max_iters = provenance.settings["max_iters"]
            if type(max_iters) is not int or max_iters < 1:
                raise ValueError("its max_iters is no number of steps")
            return provenance, checkpoint

    def earlier_max_iters(self) -> int:
        """``max_iters`` of the run that the folder holds and that goes on (call before ``start``)."""
        return self._read_record()[0].settings["max_iters"] if self._record.exists() else self._max_iters

    def can_resume(self) -> bool:
        """Whether a stopped run has left a state to go on from (call after ``finished``, which judges its settings)."""
        return self._resume and self.state_path.exists() and bool(require_file(self.state_path, "save_ckpt"))

    def start(self, steps_done: int) -> None:
        """Write recipe and environment, drop the metrics of steps that will be made again, and log to the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        log = self.path / f"{self.stage}.log"
        if log.exists():
            require_file(log, "save_ckpt")
        stale = list(self.path.glob(f".*{self.stage}*.tmp*"))  # half-written files of a killed run
        if not self._resume:
            checkpoints = self.checkpoints()
            cards = [path.with_suffix(".md") for path in checkpoints]
            stale += [*checkpoints, *cards, *self._numbered("best"), self.state_path]
        for path in stale:
            path.unlink(missing_ok=True)
        self._kept = [line for line in self.metrics() if line["step"] <= steps_done]
        atomic_write_text(self.metrics_path, "".join(json.dumps(line) + "\n" for line in self._kept))
        self._write_record(None)
        atomic_write_text(self.path / f"{self.stage}_config.yaml", yaml.safe_dump(self._recipe, sort_keys=False))
        environment = {"versions": versions(), "platform": platform.platform(), "git_commit": git_commit()}
        atomic_write_json(self.path / f"{self.stage}_environment.json", environment)
        mode = "a" if steps_done else "w"
        handler = logging.FileHandler(log, mode=mode, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(LogFormatter(time=None))
        logging.getLogger().addHandler(handler)

    def metrics(self) -> List[Line]:
        """The lines of the stage's metrics.jsonl, see ``read_metrics``."""
        return read_metrics(self.metrics_path) if self.metrics_path.exists() else []

    def seconds(self) -> float:
        """Time that the run has taken until now, with what it took before it was stopped."""
        earlier = [line["seconds"] for line in self._kept if "seconds" in line]
        return max(earlier, default=0.0) + time.monotonic() - self._began

    def add_metrics(self, values: Dict[str, Any]) -> None:
        """Append one line to the stage's metrics.jsonl."""
        with open(self.metrics_path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")

    def best_path(self, epoch: int, step: int) -> Path:
        """`best_delf_<stage>-<epoch>_<step>.ckpt`: the checkpoint of the best validation so far."""
        return self.path / f"best_delf_{self.stage}-{epoch}_{step}.ckpt"

    def best_checkpoint(self) -> Optional[Path]:
        """That of the best validation; None where none was made."""
        return next(reversed(self._numbered("best")), None)

    def is_best(self, measured: Mapping[str, Any]) -> bool:
        """Whether a validation is better than all in the metrics: by ``validation_map``, else by its summed losses."""
        earlier = [value for line in self.metrics() if (value := _merit(line)) is not None]
        return _merit(measured) > max(earlier, default=float("-inf"))

    def prune(self) -> None:
        """Delete all but the newest ``keep_checkpoint_max`` checkpoints, and all but the newest best one."""
        for path in self.checkpoints()[: -self._keep] + self._numbered("best")[:-1]:
            path.unlink()

    def finish(self, checkpoint: Path, info: DatasetInfo, device: str) -> None:
        """Record that the run is complete, and write its model card; one that stands there, maybe filled in, stays."""
        card = checkpoint.with_suffix(".md")
        if "architecture" in self._recipe and not card.exists():  # a matcher has none
            sources = self._provenance.sources
            atomic_write_text(card, model_card(checkpoint, self._recipe, sources, self.metrics(), info, device))
        self._write_record(checkpoint.name)

    def _write_record(self, checkpoint: Optional[str]) -> None:
        atomic_write_json(self._record, {"checkpoint": checkpoint, "provenance": self._provenance.as_json()})


def _merit(line: Mapping[str, Any]) -> Optional[float]:
    """What a validation is worth, the higher the better; None of a line that is none."""
    if "validation_map" in line:
        return line["validation_map"]
    return -sum(line["validation_losses"].values()) if "validation_losses" in line else None
