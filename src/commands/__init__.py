"""The commands, one module a verb; ``delf VERB`` after installation, the scripts of eval/ and tools/ before."""

import ast
import importlib
import sys
from pathlib import Path
from typing import Dict, List, NoReturn, Optional

from ..config import nearest
from ..errors import UserError
from .command_line import run_command

_SHARED = ("__init__", "command_line", "global_options", "judging")
_USAGE = (
    "usage: delf VERB [--option value ...]; delf VERB --help says more.\n"
    "A verb may be shortened to its first word where no other begins with it."
)


def verbs() -> Dict[str, str]:
    """The first line of what each verb's module says of itself, without importing it."""
    modules = {path.stem: path for path in Path(__file__).parent.glob("*.py") if path.stem not in _SHARED}
    docs = {name: ast.get_docstring(ast.parse(modules[name].read_text(encoding="utf-8"))) for name in sorted(modules)}
    return {name: (doc or "").splitlines()[0] for name, doc in docs.items()}


def find_verb(word: str) -> str:
    """The verb that ``word`` is, or the only one that begins with it as a whole word ('match' = match_images).

    Raises:
        UserError: no verb, or several.
    """
    known = verbs()
    if word in known:
        return word
    fitting = [name for name in known if name.startswith(f"{word}_")]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"{word!r} is several verbs; give one of {', '.join(fitting)}")
    first_words = {name.split("_")[0] for name in known}
    raise UserError(f"{word!r} is no verb{nearest(word, [*known, *first_words])}; delf --help lists them")


def run(verb: str) -> NoReturn:
    """Run the command ``verb`` with the arguments of this process, to the end of the process."""
    run_command(lambda: importlib.import_module(f".{verb}", __name__).main())


def main(argv: Optional[List[str]] = None) -> NoReturn:
    """The program ``delf``."""
    words = sys.argv[1:] if argv is None else argv

    def main_of_verb() -> None:
        if not words or words[0] in ("-h", "--help"):
            lines = [f"  {name:28} {summary}" for name, summary in verbs().items()]
            print("\n".join([_USAGE, "", *lines]))
            return
        verb = find_verb(words[0])
        sys.argv = [f"delf {verb}", *words[1:]]
        importlib.import_module(f".{verb}", __name__).main()

    run_command(main_of_verb)
