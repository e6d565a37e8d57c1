"""Print several results.json as one table.

It has a row for each file and a column for each setting of the protocol.
"""

import argparse
from typing import Optional, Sequence

from ..errors import UserError, printable
from ..evaluation.results import read_results
from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", metavar="NAME=results.json", help="a name and the file it stands for")


COMMAND = Command(__doc__, "votes=votes/results.json exact=exact/results.json", add_arguments=_arguments)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, read and print."""
    _, arguments = COMMAND.parse(argv)
    rows = {}
    for pair in arguments.results:
        name, separator, path = pair.partition("=")
        if not separator:
            raise UserError(f"{pair}: write NAME=results.json")
        rows[name] = {setting: values["mAP"] for setting, values in read_results(path)["metrics"].items()}
    settings = list(dict.fromkeys(setting for maps in rows.values() for setting in maps))
    print(f"{'mAP, %':<16}" + "".join(f"{printable(setting):>10}" for setting in settings))
    for name, maps in rows.items():
        shown = ("-" if maps.get(setting) is None else f"{100 * maps[setting]:.2f}" for setting in settings)
        print(f"{name:<16}" + "".join(f"{value:>10}" for value in shown))
