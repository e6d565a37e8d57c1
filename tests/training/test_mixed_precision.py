"""amp_level O2 on a CPU, which train.py refuses for its slowness, but where its arithmetic can be checked."""

import mindspore as ms
import numpy as np
import pytest

from src.config import ModelConfig, TrainingConfig
from src.device import set_up_device, set_up_training_device
from src.errors import UserError
from src.training.networks import build_network
from src.training.step import TrainStep, load_state, save_state

MODEL = ModelConfig(architecture="resnet18", kernel_init="he", kernel_init_gain=0.18, residual_gamma=0.25)


def test_cpu_refuses_in_one_sentence():
    with pytest.raises(UserError, match="`amp_level` O2 is for Ascend and GPU"):
        set_up_training_device("CPU", 0, "O2")


def tuning_step(amp_level):
    set_up_device("CPU", 1)  # seeded: the same initial weights at both levels
    training = TrainingConfig(initial_lr=1e-3, max_iters=9, amp_level=amp_level)
    step = TrainStep(build_network(MODEL, training, 5), training)
    step.set_train()
    return step


def test_overflow_is_skipped_and_the_scale_falls_until_steps_are_those_of_float32(tmp_path, small_resnet):
    generator = np.random.default_rng(0)
    images = ms.Tensor(generator.normal(size=(4, 3, 37, 37)).astype(np.float32))
    inputs = images, ms.Tensor(np.array([0, 1, 2, 4], np.int32)), ms.Tensor(np.float32(0))
    figures, (_, expected_norm) = (value.asnumpy() for value in tuning_step("O0")(*inputs))
    step = tuning_step("O2")
    dense = step.losses.network.descriptor_head.dense.weight
    scale, before = 2.0**16, dense.asnumpy().copy()
    for _ in range(12):
        half_figures, (_, norm) = (value.asnumpy() for value in step(*inputs))
        np.testing.assert_allclose(half_figures[0], figures[0], atol=0.03)
        if np.isfinite(norm):
            break
        scale /= 2
        assert step.loss_scale.asnumpy() == scale and np.array_equal(dense.asnumpy(), before)
    assert scale < 2.0**16  # the first scale is too high for this network
    assert norm == pytest.approx(expected_norm, rel=0.02) and not np.array_equal(dense.asnumpy(), before)
    assert dense.dtype == ms.float32 and step.steps_at_scale.asnumpy() == 1
    save_state(step, 5, tmp_path / "state.ckpt")
    again = tuning_step("O2")
    assert load_state(again, tmp_path / "state.ckpt") == 5
    assert again.loss_scale.asnumpy() == scale and again.steps_at_scale.asnumpy() == 1
