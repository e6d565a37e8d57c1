"""Print one table of several results.json files: a row for each, a column for each setting of the protocol."""

import argparse
import json
import sys
from pathlib import Path
from typing import Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.artifacts import require_file
from src.commands.command_line import run_command
from src.errors import UserError


def read_maps(path: Path) -> Dict[str, float]:
    """Mean average precision in percent by setting, from a results.json that eval/compute_map.py wrote."""
    try:
        results = json.loads(require_file(path, "NAME=results.json").read_text(encoding="utf-8"))
        return {setting: 100 * values["mAP"] for setting, values in results["metrics"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a results.json of eval/compute_map.py") from error


def main(argv: Optional[List[str]] = None) -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("results", nargs="+", metavar="NAME=results.json", help="a name and the file it stands for")
    rows = {}
    for pair in parser.parse_args(argv).results:
        name, separator, path = pair.partition("=")
        if not separator:
            raise UserError(f"{pair}: write NAME=results.json")
        rows[name] = read_maps(Path(path))
    settings = list(dict.fromkeys(setting for maps in rows.values() for setting in maps))
    print(f"{'mAP, %':<16}" + "".join(f"{setting:>10}" for setting in settings))
    for name, maps in rows.items():
        print(f"{name:<16}" + "".join(f"{maps[s]:>10.2f}" if s in maps else f"{'-':>10}" for s in settings))


if __name__ == "__main__":
    run_command(main)
