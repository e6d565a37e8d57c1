"""YAML files that people write: read as plain lines of 'key: value', and judged before anything is made of them."""

from collections import Counter
from typing import Any, Dict

import yaml

from .artifacts import PathLike, require_file
from .errors import UserError, printable, reading

LARGEST = 100_000  # bytes; the longest recipe has 6,000
_DEEPEST = 10
_FIX = "a recipe is a list of 'key: value' lines"


def read_mapping(path: PathLike, name: str) -> Dict[Any, Any]:
    """The keys and values of a YAML file.

    Args:
        path: the file.
        name: of the argument that gave it, for messages.

    Raises:
        UserError: no regular file, too long, not valid YAML, no mapping, nested deeply, a key that stands twice, or an
            alias: a few lines of aliases can stand for gigabytes.
    """
    path = require_file(path, name)
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: longer than {LARGEST} bytes; {_FIX}")
    with reading(path, _FIX):
        try:
            text = path.read_bytes().decode("utf-8")
            _require_plain(text)
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            loaded = loader.construct_document(node) if isinstance(node, yaml.MappingNode) else None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not valid YAML: {printable(' '.join(str(error).split()))[:300]}") from error
        if loaded is None:
            raise UserError(f"{path}: {_FIX}")
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in counts.items():
            if count > 1:
                raise UserError(f"{path}: {printable(key)[:80]} stands there twice; keep one of them")
        return loaded


def _require_plain(text: str) -> None:
    """YAMLError for aliases and deep nesting; looks at one event after the other, and so needs no memory for either."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*{event.anchor}) are not read; write the value itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise yaml.YAMLError(f"nested deeper than {_DEEPEST} levels")
