"""The sanity run: one batch, learnt by heart in both stages."""

import json

import pytest
from runs import SMALL, run

pytestmark = pytest.mark.slow


def last_loss(folder, stage):
    *_, line = (json.loads(text) for text in (folder / f"{stage}_metrics.jsonl").read_text().splitlines())
    return line["losses"]["attention" if stage == "attn" else "descriptor"]


def test_one_batch_is_learnt_by_heart(shards, tmp_path):
    recipe = ["--architecture", "resnet18", "--traindata_path", shards, "--image_size", 65, "--batch_size", 8,
              "--overfit_batches", 1, "--kernel_init", "he", "--eval_photos", 0, "--report_steps", 5]  # fmt: skip
    run("train.py", *recipe, "--max_iters", 30, "--initial_lr", 0.03, "--save_ckpt", "tuning", cwd=tmp_path,
        env=SMALL)  # fmt: skip
    assert last_loss(tmp_path / "tuning", "tuning") < 0.1
    run("train.py", *recipe, "--train_state", "attn", "--checkpoint_path", "tuning/checkpoint_delf_tuning-1_30.ckpt",
        "--max_iters", 60, "--initial_lr", 0.1, "--save_ckpt", "attn", cwd=tmp_path, env=SMALL)  # fmt: skip
    assert last_loss(tmp_path / "attn", "attn") < 0.1
