"""What every command shares: its options and help, logging, one-sentence errors, exit status."""

import argparse
import io
import logging
import os
import re
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, List, Mapping, NoReturn, Optional, Sequence, Tuple

from ..config import KEYS, Config, definition_of, load_yaml, nearest
from ..device import prepare_process
from ..errors import Interrupted, LogFormatter, UserError, install_command, printable
from ..values import LARGEST_NUMBER, coerce, short

# What the network of an extraction follows from; the last five matter for ImageNet weights (.h5), whose attention is
# untrained
NETWORK_KEYS = (
    "checkpoint_path", "architecture", "weights_style", "engine", "precision", "device_target", "load_stem",
    "kernel_init", "kernel_init_gain", "attention_init", "seed",
)  # fmt: skip
_LONGEST_SENTENCE = 1000  # letters of an error; paths and file names of Linux fit in a quarter of it
PCA_KEYS = ("pca_path", "force_pca", "pca_dim", "use_whitening")


class _Parser(argparse.ArgumentParser):
    """Answers bad options as every other bad input is answered."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the options")


def _number(kind: type, name: str, text: str) -> float:
    """``text``, given for a command's own argument ``name``, as a count, size or share.

    Raises:
        UserError: it is no finite number from 0 to what every library takes.
    """
    try:
        number = coerce(text, kind)
    except ValueError as error:
        raise UserError(f"`{name}`: {short(error)}") from error
    if not 0 <= number <= LARGEST_NUMBER:
        raise UserError(f"`{name}` is {short(text)}; it must be at least 0 and at most {LARGEST_NUMBER}")
    return number


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments beside the recipe's keys."""


@dataclass(frozen=True)
class Command:
    """The command line of one verb: its own arguments, and the keys of the recipe that it uses and no others.

    Attributes:
        summary: what it does, for ``--help``.
        example: arguments of an example, shown first.
        keys: keys of the recipe that have an effect; ``--config`` is taken when there are any.
        shown: own arguments and keys that ``--help`` shows, about ten; ``--help_all`` shows the rest.
        add_arguments: adds the command's own arguments to the parser.
        defaults: values of keys that neither recipe nor options give, where they differ from the usual ones.
    """

    summary: str
    example: str
    keys: Sequence[str] = ()
    shown: Sequence[str] = ()
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def parse(self, argv: Optional[Sequence[str]] = None) -> Tuple[Config, argparse.Namespace]:
        """The recipe (defaults, then ``--config``, then options) and the command's own arguments.

        Args:
            argv: arguments; None takes the process's own.

        Raises:
            UserError: an option that is unknown or has no effect here, or a value of the wrong type or range.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        parser = self._parser("--help_all" in argv)
        if not {"-h", "--help", "--help_all"}.isdisjoint(argv):  # argparse cannot while options and others are mixed
            print(parser.format_help(), end="")  # print_help is silent where nothing can be written
            sys.exit(0)
        self._refuse_strangers(parser, argv)
        arguments = parser.parse_intermixed_args(argv)
        recipe = load_yaml(arguments.config) if getattr(arguments, "config", None) else {}
        values = {**self.defaults, **recipe}
        for name in self.keys:
            if hasattr(arguments, name):
                values[name] = getattr(arguments, name)
                delattr(arguments, name)
        return Config(**values), arguments

    def _parser(self, everything: bool) -> argparse.ArgumentParser:
        parser = _Parser(
            usage=argparse.SUPPRESS,
            allow_abbrev=False,
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.description = f"example: {parser.prog} {self.example}\n\n{self.summary}".replace("%", "%%")
        self.add_arguments(parser)
        for action in parser._actions:
            if action.type in (int, float):
                action.type = partial(_number, action.type, action.dest)
        if self.keys:
            parser.add_argument("--config", metavar="FILE", help="recipe (YAML); options win over it")
        for name in self.keys:
            _add_key(parser, name, self.defaults)
        if not everything:
            for action in parser._actions:
                if not (action.dest in self.shown or action.required or not action.option_strings):
                    action.help = argparse.SUPPRESS
        parser.add_argument("-h", "--help", action="help", help="show the options most used")
        parser.add_argument("--help_all", action="help", help="show every option")
        return parser

    def _refuse_strangers(self, parser: argparse.ArgumentParser, argv: List[str]) -> None:
        known = [option for action in parser._actions for option in action.option_strings]
        for argument in argv:
            option = argument.split("=")[0]
            if not option.startswith("--") or len(option) == 2 or option in known:
                continue
            if option[2:] in [action.dest for action in parser._actions]:
                raise UserError(f"{option} is no option of {parser.prog}: give {option[2:]} as an argument, see --help")
            if option[2:] in KEYS:
                raise UserError(f"{option} has no effect on {parser.prog}: leave it out")
            raise UserError(f"unknown option {option}{nearest(option, known) or '; --help_all lists the options'}")


def refuse_options(argv: Optional[Sequence[str]], names: Sequence[str], why: str) -> None:
    """UserError when the command line, and not a recipe file alone, gives one of ``names``: ``why`` it does nothing."""
    given = {argument.split("=")[0] for argument in (sys.argv[1:] if argv is None else argv)}
    for name in names:
        if f"--{name}" in given:
            raise UserError(f"--{name} {why}")


def refuse_unused_tests(argv: Optional[Sequence[str]], correspondences: str) -> None:
    """UserError for options that only exact correspondences have."""
    if correspondences != "exact":
        refuse_options(argv, ("match_ratio", "mutual_check"), "has no effect without --correspondences exact")


def _add_key(parser: argparse.ArgumentParser, name: str, defaults: Mapping[str, Any]) -> None:
    definition = definition_of(name)
    choices, default = definition.metadata["choices"], defaults.get(name, definition.default)
    if isinstance(default, tuple):
        default = ",".join(f"{item:g}" for item in default)
    flag = {"nargs": "?", "const": "true", "metavar": "true|false"} if definition.type is bool else {}
    parser.add_argument(
        f"--{name}",
        default=argparse.SUPPRESS,
        help=f"{definition.metadata['help']} (default: {default if default != '' else repr('')})".replace("%", "%%"),
        **{"metavar": "|".join(choices) if choices else name.split("_")[-1].upper(), **flag},
    )


def with_dashes(message: str) -> str:
    """A library's error for the command line: the `key` it names becomes --key."""
    return re.sub(r"`(\w+)`", r"--\1", message)


class _Formatter(LogFormatter):
    """Log lines name options as errors do."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return with_dashes(super().formatMessage(record))


def run_command(main: Callable[[], Any]) -> NoReturn:
    """Run ``main`` as a process: log to stderr, UserError as one sentence, exit 0, 2 (bad input) or 128 + signal."""
    _open_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # a line that cannot be written to a log is lost, without a traceback
    status = 0
    try:
        _require_current_folder()
        prepare_process()
        main()
    except SystemExit as end:  # of --help
        status = end.code
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        status = 141
    except Interrupted as stopped:
        print(printable(str(stopped)), file=sys.stderr)
        status = stopped.status
    except KeyboardInterrupt:
        print("interrupted: run the same command again", file=sys.stderr)
        status = 130
    except Exception as error:
        print(f"error: {sentence_of(error)}", file=sys.stderr)
        status = 2
    sys.exit(_flush() or status)


def _open_streams() -> None:
    """Closed streams become /dev/null, so that no file takes their number; any name can be printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))
        elif number and isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _require_current_folder() -> None:
    try:
        os.getcwd()  # as many libraries ask
    except FileNotFoundError as error:
        raise UserError("the current folder has been deleted: change to another one") from error


def _flush() -> int:
    """Write out what was printed; the exit status where that is impossible, else 0."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush at exit
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"error: output: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def sentence_of(error: Exception) -> str:
    """What a person is told of bad input, or of what the machine lacks; any other error is raised as it is."""
    if isinstance(error, UserError):
        sentence = with_dashes(printable(str(error)))
        half = _LONGEST_SENTENCE // 2  # names and words from outside are as long as they like
        return sentence if len(sentence) <= 2 * half else f"{sentence[:half]} ... {sentence[-half:]}"
    if isinstance(error, ModuleNotFoundError):
        if (error.name or "src").split(".")[0] not in ("src", __package__.split(".")[0]):
            return f"{error.name} is not installed: run {install_command()}"
    elif isinstance(error, OSError):  # a full disk, a folder without rights, a name too long
        name = error.filename2 or error.filename  # of a copy, the new file
        where = os.fsdecode(name) if isinstance(name, (str, bytes)) else "output"
        return printable(f"{where}: {error.strerror}" if error.errno else " ".join(str(error).split()))
    elif isinstance(error, MemoryError):
        amount = f" ({error})" if str(error) else ""
        return printable(f"not enough memory{amount}: stop other programs, or ask for less")
    raise error
