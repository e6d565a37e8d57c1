"""What every command shares: keys it takes and refuses, help in two sizes, verbs, options in error messages."""

import subprocess
import sys
from pathlib import Path

import pytest

from src import commands
from src.commands.command_line import Command, with_dashes
from src.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    [*ROOT.glob("eval/*.py"), *ROOT.glob("tools/*.py"), ROOT / "train.py", ROOT / "build_image_dataset.py"]
)
HEAVY = ("mindspore", "cv2", "h5py", "faiss", "matplotlib", "pandas", "scipy", "skimage", "openvino", "onnxruntime")


def command(**changes):
    def arguments(parser):
        parser.add_argument("photos", nargs="*")
        parser.add_argument("--output", default="a.txt", help="file to write")
        parser.add_argument("--rarely", action="store_true", help="seldom of use")

    values = {
        "summary": "Do something.", "example": "a.jpg --output b.txt", "keys": ("seed", "overwrite", "ransac_trials"),
        "shown": ("output", "seed"), "add_arguments": arguments, **changes,
    }  # fmt: skip
    return Command(**values)


def test_arguments_keys_and_recipe(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("seed: 3\nransac_trials: 50\nmax_iters: 7\n")
    config, arguments = command().parse(
        ["a.jpg", "--config", str(recipe), "--ransac_trials=60", "b.jpg", "--overwrite"]
    )
    assert (config.run.seed, config.matching.ransac_trials, config.run.overwrite) == (3, 60, True)
    assert arguments.photos == ["a.jpg", "b.jpg"] and arguments.output == "a.txt" and not hasattr(arguments, "seed")


@pytest.mark.parametrize(
    "option,said",
    [
        ("--photos=a.jpg", "--photos is no option of .*: give photos as an argument"),
        ("--batch_size=99", "--batch_size has no effect on .*: leave it out"),
        ("--outptu=x", "unknown option --outptu; did you mean --output"),
        ("--nothing_like_it", "unknown option --nothing_like_it; --help_all lists the options"),
        ("--ransac_trials=0", "`ransac_trials` is 0; it must be above 0"),
        ("--ransac_trials", "expected one argument; --help"),
        ("--seed=nan", "`seed`: .nan. is not a finite number"),
    ],
)
def test_a_wrong_option_is_one_sentence(option, said):
    with pytest.raises(UserError, match=said) as caught:
        command().parse([option])
    assert "\n" not in str(caught.value)


def test_a_command_without_keys_takes_no_recipe():
    with pytest.raises(UserError, match="unknown option --config"):
        command(keys=()).parse(["--config", "a.yaml"])


def test_help_shows_the_options_most_used_and_help_all_the_rest(capsys):
    for option, shown in (("--help", False), ("--help_all", True)):
        with pytest.raises(SystemExit) as caught:
            command().parse([option])
        text = capsys.readouterr().out
        assert (
            caught.value.code == 0
            and text.startswith("example: ")
            and "a.jpg --output b.txt\n" in text
            and "file to write" in text
        )
        assert "(default: 0)" in text  # of the seed
        assert ("seldom of use" in text) == ("--ransac_trials" in text) == shown


def test_library_errors_name_keys_and_commands_options():
    assert with_dashes("a.h5: give `overwrite`, or another `output_image`") == (
        "a.h5: give --overwrite, or another --output_image"
    )


def test_a_verb_may_be_shortened_to_its_first_word():
    assert commands.find_verb("match") == commands.find_verb("match_images") == "match_images"
    with pytest.raises(UserError, match="'build' is several verbs; give one of build_"):
        commands.find_verb("build")
    with pytest.raises(UserError, match="'matc' is no verb; did you mean match.; delf --help lists them"):
        commands.find_verb("matc")


def test_every_verb_has_a_script_of_its_name_and_every_script_a_verb():
    assert [path.stem for path in SCRIPTS if path.stem not in commands.verbs()] == []
    assert sorted(commands.verbs()) == sorted(path.stem for path in SCRIPTS)
    assert all(len(path.read_text().splitlines()) <= 9 for path in SCRIPTS)


@pytest.mark.parametrize("verb", sorted(commands.verbs()))
def test_help_imports_nothing_heavy_and_shows_an_example_and_few_options(verb):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from src.commands import {verb} as module\n"
        "try:\n    module.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("HEAVY []\n"), done.stdout + done.stderr
    assert done.stdout.startswith("example: ")
    options = [line for line in done.stdout.splitlines() if line.startswith("  --")]
    assert len(options) <= 13, options


def test_the_program_lists_its_verbs(capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and all(f"  {verb} " in text for verb in commands.verbs())
