"""Search one's own photos: a table or JSON of the best ones for each query photo, and a page with the matches drawn."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument("--index", required=True, help="folder made by tools/build_photo_index.py")
    parser.add_argument("--query", required=True, help="a photo, or a folder of photos")
    parser.add_argument("--top_k", type=int, default=10, help="results of each query (default: %(default)s)")
    parser.add_argument("--images_path", default="", help="the indexed photos, where they have moved")
    parser.add_argument(
        "--output",
        default="search.html",
        help="page to write, in place of an older one; '' = none (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def _print_table(found) -> None:
    print(f"{found.query.name}: {len(found.features)} features")
    rows = [result.as_row() for result in found.results]
    width = max([len(row["photo"]) for row in rows] + [5])
    if rows:
        print(f"  rank  {'photo':<{width}}  inliers  correspondences")
    for row in rows:
        inliers = row["inliers"] if row["score"] >= 0 else "-"
        print(f"  {row['rank']:>4}  {row['photo']:<{width}}  {inliers:>7}  {row['correspondences']:>15}")
    if not rows:
        print("  nothing in the index resembles it")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "matching", "retrieval"), _arguments, argv)
    if arguments.top_k < 1:
        raise UserError(f"--top_k is {arguments.top_k}; it must be above 0")
    from src.report.search_page import SearchPage
    from src.retrieval.collection import load_collection
    from src.retrieval.index import load_index
    from src.retrieval.photo_search import query_photos, search_photos

    collection, queries = load_collection(arguments.index), query_photos(arguments.query)
    index = load_index(collection.index)
    page = SearchPage(index, arguments.images_path or collection.images_path)
    answers = []
    for found in search_photos(collection, index, queries, arguments.top_k, config):
        results = [result.as_row() for result in found.results]
        answers.append({"query": found.query.name, "features": len(found.features), "results": results})
        if not arguments.json:
            _print_table(found)
        if arguments.output:
            page.add(found)
    if not answers:
        raise UserError(f"{arguments.query}: no query could be searched with")
    if arguments.json:
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    if arguments.output:
        page.write(arguments.output, f"Search of {Path(arguments.index).resolve().name}")


if __name__ == "__main__":
    run_command(main)
