"""Compare two results.json of one benchmark, query by query.

Prints the change of mAP with its 95 % interval, and the queries that changed most. The interval is that of the paired
bootstrap: 10,000 resamples of the queries, drawn with --seed.
"""

import argparse
import dataclasses
import json
from typing import List, Optional, Sequence

from ..errors import UserError, printable
from ..evaluation.comparison import Comparison, SettingComparison, compare_results
from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A/results.json", help="results of the command compute_map")
    parser.add_argument("second", metavar="B/results.json", help="results to compare with them; + = these are better")
    parser.add_argument(
        "--num_queries", type=int, default=5, help="wins and losses shown for each setting (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead, fractions for percent")


COMMAND = Command(
    __doc__,
    "before/results.json after/results.json",
    keys=("seed",),
    shown=("num_queries", "json", "seed"),
    add_arguments=_arguments,
)


def _lines_of_setting(name: str, setting: SettingComparison, num_queries: int) -> List[str]:
    """Table row and the largest wins and losses, in percent."""
    if setting.difference is None:
        return [f"{name:10}no query has positives in both"]
    before, after, change, low, high = (100 * x for x in (*setting.maps, setting.difference, *setting.interval))
    counts = f"{setting.wins:6}{setting.losses:8}{setting.ties:6}"
    lines = [f"{name:10}{before:8.2f}{after:8.2f}{change:+9.2f}{f'[{low:+.2f}, {high:+.2f}]':>18}{counts}"]
    changed = [(query, *pair) for query, pair in setting.queries.items()]
    shown = changed[: min(num_queries, setting.wins)]
    shown += changed[len(changed) - min(num_queries, setting.losses) :]
    lines += [f"  {100 * b:8.2f}{100 * a:16.2f}{100 * (a - b):+9.2f}  {query}" for query, b, a in shown]
    return lines


def _table(comparison: Comparison, num_queries: int) -> str:
    """The comparison as text for the terminal."""
    sizes = " and ".join(map(str, dict.fromkeys(comparison.index_sizes)))
    lines = [f"{comparison.ground_truth}, protocol {comparison.protocol}, {sizes} photos; in percent"]
    lines.append(
        f"{'setting':10}{'first':>8}{'second':>8}{'change':>9}{'95 % interval':>18}{'wins':>6}{'losses':>8}{'ties':>6}"
    )
    for name, setting in comparison.settings.items():
        lines += _lines_of_setting(name, setting, num_queries)
    return "\n".join(map(printable, lines))


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, compare and print."""
    config, arguments = COMMAND.parse(argv)
    if arguments.num_queries < 0:
        raise UserError(f"--num_queries is {arguments.num_queries}; it must be 0 or more")
    comparison = compare_results(arguments.first, arguments.second, config.run.seed)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(comparison), indent=2))
    else:
        print(_table(comparison, arguments.num_queries))
