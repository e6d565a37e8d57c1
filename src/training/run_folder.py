"""The folder of one training run: resolved recipe, log, metrics, checkpoints."""

import json
import logging
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from src.config import Config, section_values, to_yaml
from src.errors import UserError
from src.files import atomic_write_text

_CHECKPOINT = re.compile(r"checkpoint_delf_(tuning|attn)-(\d+)_(\d+)\.ckpt")
# These may change between two runs without making the first one's checkpoints stale.
_IRRELEVANT = {"overwrite", "num_workers", "device_target", "save_ckpt", "save_ckpt_step", "keep_checkpoint_max"}


class RunFolder:
    """Names and keeps the files of a run.

    Args:
        config: the resolved recipe; ``config.save_ckpt`` is the folder.
        inputs: what else decides the result (fingerprint of the data set, SHA-256 of the starting weights).
    """

    def __init__(self, config: Config, inputs: Dict[str, Any]) -> None:
        self.path = Path(config.save_ckpt)
        self._config = config
        self._identity = {**section_values(config, "run", "model", "training"), **inputs}
        for name in _IRRELEVANT:
            self._identity.pop(name, None)

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
        record = self.path / f"{self._config.train_state}.json"
        if self._config.overwrite or not record.exists():
            return None
        stored = json.loads(record.read_text(encoding="utf-8"))
        if stored["identity"] != json.loads(json.dumps(self._identity)):
            names = sorted(
                k for k, v in self._identity.items() if stored["identity"].get(k) != json.loads(json.dumps(v))
            )
            raise UserError(
                f"{self.path}: holds a {self._config.train_state} run under other settings ({', '.join(names)}): "
                "give another --save_ckpt, or --overwrite to replace it"
            )
        last = self.path / stored["checkpoint"]
        return last if last.exists() else None

    def start(self) -> None:
        """Write the resolved recipe, forget what an unfinished run of this stage left, and log to the folder too."""
        self.path.mkdir(parents=True, exist_ok=True)
        stage = self._config.train_state
        for stale in [*self.checkpoints(), self.path / f"{stage}.json", self.path / f"{stage}_metrics.jsonl"]:
            stale.unlink(missing_ok=True)
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
        record = {"checkpoint": checkpoint.name, "identity": self._identity}
        atomic_write_text(self.path / f"{self._config.train_state}.json", json.dumps(record, indent=2) + "\n")
