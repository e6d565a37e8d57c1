"""The folder of a run: when a run is finished, may go on or is refused; and what train.py says before MindSpore."""

import json
import logging
import os
from pathlib import Path

import pytest

from src.commands.train import main
from src.config import ModelConfig, RunConfig, TrainingConfig, load_yaml
from src.data.summary import DatasetInfo
from src.errors import UserError
from src.training.run_folder import RunFolder
from src.training.stage import starting_weights

INFO = DatasetInfo(Path(), 4, 24, 6, (), (), "abc")
SOURCES = {"dataset": "abc", "checkpoint_path_sha256": "12"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # `start` adds one


def folder(run=(), model=(), sources=SOURCES, ranks=1, **training):
    return RunFolder(RunConfig(**dict(run)), ModelConfig(**dict(model)), TrainingConfig(**training), sources, ranks)


def finish(made):
    made.start(0)
    checkpoint = made.checkpoint_path(1, 5)
    checkpoint.write_bytes(b"weights")
    made.finish(checkpoint, INFO, "1 CPU")
    return checkpoint


def test_a_finished_run_is_found_whatever_does_not_change_its_result():
    assert folder().finished() is None
    checkpoint = finish(folder())
    same = {"run": {"num_workers": 5, "device_target": "CPU"}, "model": {"engine": "openvino"}, "report_steps": 7}
    assert folder(**same).finished() == checkpoint
    assert folder(resume=False).finished() is None and folder(run={"overwrite": True}).finished() is None
    checkpoint.unlink()
    assert folder().finished() is None


def test_the_model_card_says_what_the_run_knows_and_leaves_the_rest_to_be_filled_in():
    made = folder(run={"seed": 3}, train_state="attn", batch_size=7)
    made.start(0)
    checkpoint = made.checkpoint_path(2, 5)
    made.add_metrics({"step": 4, "losses": {"attention": 1.25}, "accuracies": {"attention": 0.5}, "seconds": 600.0,
                      "peak_memory_gb": 2.34})  # fmt: skip
    made.add_metrics({"step": 5, "validation_losses": {"attention": 1.5}, "validation_accuracies": {"attention": 0.25}})
    made.finish(checkpoint, INFO, "2 CPU")
    card = checkpoint.with_suffix(".md").read_text()
    for text in ("24 training photos of 4 classes, 6 to validate; fingerprint abc", "checkpoint_path (SHA-256 12)",
                 "- `batch_size`: 7", "- `seed`: 3",
                 "- Training, last report (step 4): attention loss 1.250, accuracy 50.0 %",
                 "- Validation, last (step 5): attention loss 1.500, accuracy 25.0 %", "10 minutes on 2 CPU",
                 "Memory at most: 2.3 GB", "rights: _to be filled in_"):  # fmt: skip
        assert text in card
    assert "`max_iters`" not in card  # the default
    checkpoint.with_suffix(".md").write_text("filled in")
    made.finish(checkpoint, INFO, "2 CPU")
    assert checkpoint.with_suffix(".md").read_text() == "filled in"


def test_time_goes_on_after_a_stop():
    made = folder()
    made.start(0)
    made.add_metrics({"step": 1, "losses": {}, "accuracies": {}, "seconds": 1000.0})
    again = folder()
    again.start(1)
    assert 1000 < again.seconds() < 1100


@pytest.mark.parametrize(
    "change,names",
    [
        ({"batch_size": 3, "initial_lr": 0.5}, "batch_size, initial_lr"),
        ({"run": {"seed": 1}}, "seed"),
        ({"model": {"kernel_init": "he"}}, "kernel_init"),
        ({"ranks": 2}, "ranks"),
        ({"sources": {**SOURCES, "dataset": "def"}}, "dataset"),
        ({"sources": {"dataset": "abc"}}, "checkpoint_path_sha256"),
    ],
)
def test_other_settings_are_refused_by_name_and_replaced_on_demand(change, names):
    finish(folder())
    with pytest.raises(UserError, match=rf"ckpt: holds a tuning run under other settings \({names}\): .*`overwrite`"):
        folder(**change).finished()
    assert folder(**{**change, "run": {**change.get("run", {}), "overwrite": True}}).finished() is None
    assert folder(**change, train_state="attn").finished() is None  # the other stage's runs are apart


def test_a_stopped_run_may_go_on_until_it_is_to_start_anew():
    stopped = folder()
    stopped.start(0)
    stopped.state_path.write_bytes(b"state")
    assert folder().finished() is None and folder().can_resume()
    assert not folder(resume=False).can_resume() and not folder(run={"overwrite": True}).can_resume()
    folder(resume=False).start(0)
    assert not stopped.state_path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[1]", "[" * 100000, " " * (2 << 20), "\0\udcff",
        '{"checkpoint": null, "provenance": {"seed": 1}}',
        '{"checkpoint": 5, "provenance": {"settings": {"max_iters": 5}}}',
        '{"checkpoint": "../thesis.txt", "provenance": {"settings": {"max_iters": 5}}}',
        '{"checkpoint": null, "provenance": {"settings": {"max_iters": "5"}}}',
        '{"checkpoint": null, "provenance": {"settings": {"max_iters": 0}}}',
        '{"checkpoint": null, "provenance": {"settings": []}}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_one_sentence(text):
    finish(folder())
    folder().path.joinpath("tuning.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"tuning.json: damaged \([^\n]{1,220}\); give another `save_ckpt`, or `over"):
        folder().finished()


@pytest.mark.parametrize("name", ["tuning.json", "tuning_metrics.jsonl", "tuning.log"])
def test_a_pipe_in_the_folder_is_not_waited_for(name):
    made = folder()
    made.path.mkdir()
    os.mkfifo(made.path / name)
    with pytest.raises(UserError, match=f"{name}: is a pipe or a device"):
        made.finished()
        made.start(0)


def test_lines_of_the_metrics_that_are_none_are_left_out():
    made = folder()
    made.start(0)
    made.add_metrics({"step": 1, "losses": {"descriptor": 2.5}, "seconds_left": None})
    made.add_metrics({"step": 2, "validation_losses": {"descriptor": 2.0}})
    bad = [b"[" * 100000, b"[1]", b"3", b"{}", b'{"step": 1e999}', b'{"step": 3, "losses": 4}', b"\xff\xfe",
           b'{"step": 3, "losses": {"descriptor": "x"}}', b'{"step": 3, "x": []}', b'{"step": 4']  # fmt: skip
    with open(made.metrics_path, "ab") as stream:
        stream.write(b"\n".join(bad))
    assert [line["step"] for line in made.metrics()] == [1, 2]
    better, worse = ({"validation_losses": {"descriptor": loss}} for loss in (1.5, 2.5))
    assert made.is_best(better) and not made.is_best(worse)
    folder().start(1)
    assert made.metrics() == [{"step": 1, "losses": {"descriptor": 2.5}, "seconds_left": None}]


def test_the_recipe_is_kept_as_a_recipe():
    made = folder(model={"kernel_init": "he"}, batch_size=3)
    made.start(0)
    values = load_yaml(made.path / "tuning_config.yaml")
    assert (values["kernel_init"], values["batch_size"], values["seed"]) == ("he", 3, 0)
    made.add_metrics({"step": 4})
    made.add_metrics({"step": 6})
    folder().start(5)  # what comes after the step it goes on from is made again
    assert made.metrics() == [{"step": 4}]
    assert json.loads(made.path.joinpath("tuning.json").read_text())["checkpoint"] is None


def test_stage_attn_wants_weights(tmp_path):
    with pytest.raises(UserError, match="stage attn needs .*`checkpoint_path`"):
        starting_weights("attn", ModelConfig(imagenet_checkpoint="a.h5"))
    with pytest.raises(UserError, match="a.h5: no such file .`imagenet_checkpoint`"):
        starting_weights("tuning", ModelConfig(imagenet_checkpoint="a.h5"))
    assert starting_weights("tuning", ModelConfig()) == {}
    (tmp_path / "a.ckpt").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing
    both = ModelConfig(checkpoint_path="a.ckpt", imagenet_checkpoint="a.h5")
    assert starting_weights("tuning", both) == {"checkpoint_path_sha256": empty}


def test_the_command_prints_a_key_of_the_recipe(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("save_ckpt: there\nmax_image_size: 480\n")
    main(["--config", "recipe.yaml", "--print_key", "save_ckpt"])
    main(["--print_key=batch_size", "--batch_size=7"])
    assert capsys.readouterr().out == "there\n7\n"
    with pytest.raises(UserError, match="--engine has no effect"):
        main(["--engine=openvino"])
