"""The JSON API in the words of OpenAPI 3.0, as the server gives it at ``/api/schema``."""

from typing import Any, Dict, Optional, Sequence

from .asking import MOST_LISTED, MOST_RESULTS

_ANSWERS = ["yes", "perhaps", "no"]


def _number(text: str, nullable: bool = False) -> Dict[str, Any]:
    return {"type": "number", "description": text, **({"nullable": True} if nullable else {})}


def _whole(text: str, nullable: bool = False) -> Dict[str, Any]:
    return {**_number(text, nullable), "type": "integer"}


def _text(text: str, nullable: bool = False, choices: Sequence[Any] = ()) -> Dict[str, Any]:
    return {**_number(text, nullable), "type": "string", **({"enum": list(choices)} if choices else {})}


def _list(items: Dict[str, Any], text: str) -> Dict[str, Any]:
    return {"type": "array", "items": items, "description": text}


def _record(text: str, **properties: Dict[str, Any]) -> Dict[str, Any]:
    return {"type": "object", "description": text, "required": list(properties), "properties": properties}


def _ref(name: str, nullable: bool = False) -> Dict[str, Any]:
    found = {"$ref": f"#/components/schemas/{name}"}
    return {"allOf": [found], "nullable": True} if nullable else found


SCHEMAS: Dict[str, Dict[str, Any]] = {
    "Photo": _record(
        "a photo of the collection; its picture is at /photos/NUMBER",
        number=_whole("from 0"),
        name=_text("path of its file within the collection"),
        width=_whole("pixels of the upright photo; null where its file is gone", True),
        height=_whole("pixels", True),
    ),
    "Folder": _record("a folder of the collection", name=_text("path"), photos=_whole("in it and below")),
    "Collection": _record(
        "the collection",
        name=_text("of its folder"),
        photos=_whole("how many"),
        searcher=_text("what is searched", choices=("votes", "global", "vlad", "asmk", "asmk_star")),
        verdicts={"type": "boolean", "description": "results say whether it is the same place"},
        no_verdict=_text("why they do not, or empty"),
        max_upload_bytes=_whole("of a query's file"),
        folders=_list(_ref("Folder"), "at any depth, sorted"),
    ),
    "Photos": _record("part of a list", total=_whole("of the list"), photos=_list(_ref("Photo"), "by name")),
    "Matches": _record(
        "correspondences of two photos",
        correspondences=_whole("of near descriptors"),
        verified={"type": "boolean", "description": "RANSAC looked at them"},
        inliers=_whole("that agree with one affine map", True),
        lines=_list(
            _list({"type": "number"}, "x, y in the first photo, x, y in the second, pixels"), "inliers, 200 at most"
        ),
    ),
    "Through": _record(
        "the photo by which the graph has found another one",
        photo=_ref("Photo"),
        matches=_ref("Matches"),
        matches_with_result=_ref("Matches"),
    ),
    "Result": _record(
        "a photo found",
        rank=_whole("from 1"),
        photo=_ref("Photo"),
        score=_number("of the search; comparable within one answer"),
        same_place=_text("whether it is the same place", True, _ANSWERS),
        probability=_number("of the same place, from 0 to 1", True),
        bar=_number(
            "how good it is, 0 to 1, on one scale for all queries: the probability, else the share of the query's "
            "features that are inliers, else the similarity"
        ),
        matches=_ref("Matches", True),
        through=_ref("Through", True),
    ),
    "Query": _record(
        "the query",
        photo=_ref("Photo", True),
        width=_whole("pixels of the upright photo"),
        height=_whole("pixels"),
        features=_whole("local features, in the box if there is one", True),
    ),
    "Answer": _record(
        "what a search has found",
        query=_ref("Query"),
        folder=_text("that results are in"),
        photos_searched=_whole("in that folder"),
        seconds=_number("that the search took"),
        same_place=_text("the best of the results; null without verdicts", True, _ANSWERS),
        left_out=_list({"type": "string"}, "photos of the collection that are the query itself"),
        results=_list(_ref("Result"), "best first"),
    ),
    "Preview": _record(
        "a photo that a browser may be unable to show",
        width=_whole("pixels of the upright photo"),
        height=_whole("pixels"),
        jpeg=_text("a small JPEG, base64"),
    ),
    "Refusal": _record("why there is no answer", error=_text("one sentence")),
}
_UPLOAD = {
    "description": "the file of a photo: JPEG, PNG, WebP, TIFF, BMP, GIF or PPM, told by its content",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


def _parameter(name: str, schema: Dict[str, Any], place: str = "query") -> Dict[str, Any]:
    schema = dict(schema)
    text = schema.pop("description")
    return {"name": name, "in": place, "required": place == "path", "description": text, "schema": schema}


def _operation(
    summary: str, answer: str, *parameters: Dict[str, Any], body: Optional[Dict[str, Any]] = None
) -> Dict[str, Any]:
    def content(name: str, text: str) -> Dict[str, Any]:
        return {"description": text, "content": {"application/json": {"schema": _ref(name)}}}

    return {
        "summary": summary,
        "parameters": list(parameters),
        **({"requestBody": body} if body else {}),
        "responses": {"200": content(answer, summary), "default": content("Refusal", "no answer")},
    }


def api_schema() -> Dict[str, Any]:
    """The document."""
    folder = _parameter("folder", _text("photos in this folder and below; all without it"))
    number = _parameter("number", _whole("of the photo"), "path")
    picture = {
        "summary": "a photo of the collection as a JPEG",
        "parameters": [
            number,
            _parameter("size", _text("longer side of 320 or 1280 pixels", choices=("tile", "large"))),
        ],
        "responses": {"200": {"description": "the picture", "content": {"image/jpeg": {}}}},
    }
    search = _operation(
        "search with a photo", "Answer",
        _parameter("photo", _whole("in place of a body: number of a photo of the collection")),
        _parameter("top_k", _whole(f"results, 1 to {MOST_RESULTS}; 10 without it")),
        _parameter("box", _text("left,top,right,bottom: part of the query that counts, pixels of the upright photo")),
        folder,
        body=_UPLOAD,
    )  # fmt: skip
    listed = (_parameter("start", _whole("first of them, from 0")), _parameter("count", _whole(f"1 to {MOST_LISTED}")))
    return {
        "openapi": "3.0.3",
        "info": {"title": "Search of a collection of photos", "version": "1"},
        "paths": {
            "/api/collection": {"get": _operation("the collection", "Collection")},
            "/api/photos": {"get": _operation("its photos", "Photos", folder, *listed)},
            "/api/search": {"post": search},
            "/api/preview": {"post": _operation("a photo made small", "Preview", body=_UPLOAD)},
            "/photos/{number}": {"get": picture},
        },
        "components": {"schemas": SCHEMAS},
    }
