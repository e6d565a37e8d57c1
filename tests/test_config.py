"""The recipe: defaults, YAML, command line, and what it says to bad input."""

import os
import time
from pathlib import Path

import pytest
import yaml

from src.commands.command_line import Command
from src.config import KEYS, Config, MatchingConfig, definition_of, keys_of, load_yaml
from src.errors import UserError

RECIPES = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


def parse(*argv):
    return Command("A test.", "", tuple(KEYS)).parse(argv)[0]


def test_published_recipe_spells_out_the_defaults_but_for_the_number_of_features():
    recipe = next(path for path in RECIPES if path.name == "delf_gldv2.yaml")
    assert Config(**load_yaml(str(recipe))) == Config(max_feature_num=1000)
    assert set(load_yaml(str(recipe))) == set(KEYS)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_every_key_of_a_recipe_has_a_comment(recipe):
    for line in recipe.read_text().splitlines():
        assert not line.strip() or line.startswith("#") or "  # " in line, line


def test_command_line_wins_over_yaml_and_yaml_over_defaults(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("batch_size: 8\ninitial_lr: 1e-3\nimage_scales: [0.5, 1]\nscore_threshold: null\n")
    config = parse("--config", str(recipe), "--batch_size=4", "--overwrite", "--use_augmentation", "false")
    assert (config.training.batch_size, config.training.initial_lr, config.extraction.image_scales) == (
        4,
        0.001,
        (0.5, 1.0),
    )
    assert config.run.overwrite and not config.training.use_augmentation and config.training.max_iters == 500000
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(config.values()))
    assert Config(**load_yaml(str(again))) == config


def test_the_seed_readme_lines_work_as_they_stand(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        'traindata_path: "/home/gldv2/mindrecord/train.mindrecord000"\n'
        'imagenet_checkpoint: "/home/delf/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"\n'
    )
    assert load_yaml(str(recipe))["traindata_path"].endswith("train.mindrecord000")


@pytest.mark.parametrize(
    "text,said",
    [
        ("batchsize: 8\n", "did you mean batch_size?"),
        ("batch_size: many\n", "batch_size"),
        ("batch_size: 2.5\n", "whole number"),
        ("batch_size: true\n", "not a number"),
        ("train_state: both\n", "tuning, attn"),
        ("- a\n- b\n", "key: value"),
        ("a: [\n", "not valid YAML"),
        ("batch_size: 0\n", "above 0"),
        ("image_scales: []\n", "image_scales"),
        ("overwrite: perhaps\n", "neither true nor false"),
    ],
)
def test_bad_yaml_is_answered_in_one_sentence(tmp_path, text, said):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(UserError) as caught:
        parse("--config", str(recipe))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def _amplified():
    """Nine lists of ten aliases each: a billion texts in 300 letters."""
    lists = ["&a0 [" + ",".join("x" * 10) + "]"]
    lists += [f"&a{level} [" + ",".join([f"*a{level - 1}"] * 10) + "]" for level in range(1, 9)]
    return "pca_path: [" + ", ".join(lists) + "]"


@pytest.mark.parametrize(
    "text,said",
    [
        (_amplified(), r"aliases \(\*a0\) are not read; write the value itself"),
        ("seed: &a 1\n<<: {batch_size: *a}\n", "aliases"),
        ("seed: " + "[" * 50_000, "nested deeper than 10 levels"),
        ("- " * 40_000, "nested deeper than 10 levels"),
        ("seed: 1\nbatch_size: 3\nseed: 2\n", "seed stands there twice; keep one of them"),
        ("seed: 1\n" + "#" * 100_000, "longer than 100000 bytes"),
        ("seed: " + "9" * 90_000, "damaged"),
        ("seed: 2001-99-99", "damaged"),
        ("seed: !!timestamp abc", "damaged"),
        ("seed: !!python/object/apply:os.system [id]", "not valid YAML"),
        ("seed: 1\n---\nseed: 2\n", "not valid YAML"),
        ('"\\e[31m": 1', r"unknown key '\\x1b\[31m'"),
        ('pca_path: "\\ud800"', "holds a character that no path has"),
        ("seed: \xff".encode("latin-1"), "not valid YAML"),
        ("seed: 1\n".encode("utf-16"), "not valid YAML"),
    ],
)
def test_a_recipe_made_to_break_readers_is_one_short_sentence(tmp_path, text, said):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.process_time()
    with pytest.raises(UserError, match=said) as caught:
        load_yaml(str(recipe))
    assert time.process_time() - started < 5
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    assert str(caught.value).startswith(f"{recipe}: ")


@pytest.mark.parametrize("target", ["pipe", "zero", "folder"])
def test_a_recipe_is_a_regular_file(tmp_path, target):
    recipe = tmp_path / "recipe.yaml"
    if target == "pipe":
        os.mkfifo(recipe)
    elif target == "zero":
        recipe.symlink_to("/dev/zero")
    else:
        recipe.mkdir()
    with pytest.raises(UserError, match=r"recipe\.yaml: is (no file|a pipe or a device)"):
        load_yaml(str(recipe))


def test_unknown_option_and_missing_recipe():
    with pytest.raises(UserError, match="did you mean --batch_size"):
        parse("--batchsize=8")
    with pytest.raises(UserError, match="none.yaml: no such file .`config`"):
        parse("--config", "none.yaml")


@pytest.mark.parametrize(
    "values,said",
    [
        ({"max_iters": -3}, "`max_iters` is -3; it must be above 0"),
        ({"train_state": "foo"}, "`train_state` is 'foo'; it must be one of tuning"),
        ({"match_ratio": 1.5}, "`match_ratio` is 1.5; it must be above 0 and at most 1"),
        ({"initial_lr": float("nan")}, "`initial_lr`: nan is not a finite number"),
        ({"image_scales": (1, float("inf"))}, "`image_scales`: inf is not a finite number"),
        ({"image_scales": (1, 0)}, "`image_scales` is 1,0; it must be above 0"),
        ({"momentum": True}, "`momentum`: True is not a number"),
        ({"seed": 2**31}, "`seed` is 2147483648; it must be at least 0 and at most 2147483647"),
        ({"ransac_trials": 10**10}, "`ransac_trials` is 10000000000; it must be above 0 and at most 2147483647"),
        ({"max_image_size": 0}, "`max_image_size` is 0; it must be at least -1 and at most 2147483647 and not 0"),
        ({"min_image_size": -2}, "`min_image_size` is -2; it must be at least -1"),
        ({"initial_lr": 1e10}, "`initial_lr` is 1e\\+10; it must be above 0 and at most 2147483647"),
        ({"seed": 10**400}, "`seed`: the number is too large"),
        ({"pca_path": "a\0b"}, "`pca_path`: .* holds a character that no path has"),
        ({"engine": "x" * 10**6}, "`engine` is 'xxx.* \\.\\.\\.; it must be one of auto"),
        ({"image_scales": "1e30"}, "it must be above 0 and at most 100"),
    ],
)
def test_values_are_checked_on_construction(values, said):
    for make in (Config, Config(seed=3).replace):
        with pytest.raises(UserError, match=said):
            make(**values)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_no_number_takes_what_is_none(name):
    if type(Config().values()[name]) is bool:
        bad = ["nan", "2", "maybe", [True], None]
    elif definition_of(name).type is str:
        bad = [[1], {}, "\0", "\ud800"]
    else:
        bad = ["nan", "inf", "-inf", "1e999", -(10**12), 10**12, 10**400, "9" * 5000, "abc", "", [[1]], {}, True, "0x3"]
    for value in bad:
        with pytest.raises(UserError, match=f"`{name}`") as caught:
            Config(**{name: value})
        assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_keys_stand_in_sections_and_are_given_flat():
    config = Config(max_iters=600, image_scales="0.5,1", match_ratio=0.9)
    assert config.training.max_iters == 600 and config.extraction.image_scales == (0.5, 1.0)
    assert config.replace(seed=4, match_ratio=None) == Config(max_iters=600, image_scales=[0.5, 1], seed=4)
    assert keys_of(MatchingConfig, but=["match_ratio"]) == (
        "match_distance", "mutual_check", "ransac_method", "ransac_residual", "residual_unit", "ransac_trials",
    )  # fmt: skip
    with pytest.raises(TypeError, match="'max_itrs' is no key of the recipe; did you mean max_iters"):
        Config(max_itrs=3)
