"""The folder of one training run: resolved recipe, log, metrics, checkpoints."""

import json
import logging
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from src.config import Config, section_values, to_yaml
from src.errors import UserError
from src.files import atomic_write_json, atomic_write_text

_CHECKPOINT = re.compile(r"checkpoint_delf_(tuning|attn)-(\d+)_(\d+)\.ckpt")
# These may differ between two runs of the same result; of the files named by paths, the content counts (`inputs`).
_IRRELEVANT = {
    "overwrite", "num_workers", "device_target", "save_ckpt", "save_ckpt_step", "keep_checkpoint_max",
    "traindata_path", "imagenet_checkpoint", "checkpoint_path",
}  # fmt: skip


class RunFolder:
    """Names and keeps the files of a run.

    Args:
        config: the resolved recipe; ``config.save_ckpt`` is the folder.
        inputs: what else decides the result (fingerprint of the data set, SHA-256 of the starting weights).
    """

    def __init__(self, config: Config, inputs: Dict[str, Any]) -> None:
        self.path = Path(config.save_ckpt)
        self._config = config
        values = {**section_values(config, "run", "model", "training"), **inputs}
        self._identity = {name: value for name, value in values.items() if name not in _IRRELEVANT}
        self._record = self.path / f"{config.train_state}.json"

    def checkpoint_path(self, epoch: int, step: int) -> Path:
        """`checkpoint_delf_<stage>-<epoch>_<step>.ckpt`; ``epoch`` counts from 1, ``step`` is the global step."""
        return self.path / f"checkpoint_delf_{self._config.train_state}-{epoch}_{step}.ckpt"

    def checkpoints(self) -> List[Path]:
        """This stage's checkpoints, oldest first."""
        found = []
        for path in self.path.glob("checkpoint_delf_*.ckpt"):
            match = _CHECKPOINT.fullmatch(path.name)
            if match and match.group(1) == self._config.train_state:
                found.append((int(match.group(3)), path))
        return [path for _, path in sorted(found)]

    def finished(self) -> Optional[Path]:
        """The last checkpoint of a run that was finished under the same settings, or None.

        Raises:
            UserError: the folder holds a run under other settings and ``overwrite`` is off.
        """
        if self._config.overwrite or not self._record.exists():
            return None
        stored = json.loads(self._record.read_text(encoding="utf-8"))
        names = sorted(k for k, value in self._identity.items() if stored["identity"].get(k) != value)
        if names:
            raise UserError(
                f"{self.path}: holds a {self._config.train_state} run under other settings ({', '.join(names)}): "
                "give another --save_ckpt, or --overwrite to replace it"
            )
        last = self.path / (stored["checkpoint"] or "none")
        return last if last.is_file() else None

    def start(self) -> None:
        """Write the resolved recipe, and log to the folder too.

        Checkpoints of a run of the same settings that was killed stay: the new run makes the same ones.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        stage = self._config.train_state
        if self._config.overwrite:
            for stale in self.checkpoints():
                stale.unlink()
        (self.path / f"{stage}_metrics.jsonl").unlink(missing_ok=True)
        self._write_record(None)
        atomic_write_text(self.path / f"{stage}_config.yaml", to_yaml(self._config))
        handler = logging.FileHandler(self.path / f"{stage}.log", mode="w", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logging.getLogger().addHandler(handler)

    def add_metrics(self, values: Dict[str, Any]) -> None:
        """Append one line to the stage's metrics.jsonl."""
        with open(self.path / f"{self._config.train_state}_metrics.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")

    def prune(self) -> None:
        """Delete all but the newest ``keep_checkpoint_max`` checkpoints."""
        for path in self.checkpoints()[: -self._config.keep_checkpoint_max]:
            path.unlink()

    def finish(self, checkpoint: Path) -> None:
        """Record that the run is complete."""
        self._write_record(checkpoint.name)

    def _write_record(self, checkpoint: Optional[str]) -> None:
        atomic_write_json(self._record, {"checkpoint": checkpoint, "identity": self._identity})
