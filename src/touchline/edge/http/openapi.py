"""The OpenAPI document, made of the table that also routes, so that it can't say anything else."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from touchline import __version__
from touchline.core.errors import Code
from touchline.edge.http.operations import Operation
from touchline.wire.problems_v1 import CONTENT_TYPE, STATUS_OF_CODE

_REF: Final = "#/components/schemas/{name}"
_DECIMAL: Final = {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, {"type": "number"}]}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"enum": [code.value for code in Code]},
        "detail": {"type": "string"},
    },
}


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of `operations` as plain JSON values."""
    shapes = {shape for o in operations for shape in (_body(o), o.answer) if shape is not None}
    ordered = sorted(shapes, key=lambda shape: str(shape))
    schemas, components = msgspec.json.schema_components(ordered, schema_hook=_raw, ref_template=_REF)
    named = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "touchline", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _describe(operation: Operation, named: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"[^a-z]+", "_", f"{operation.method} {operation.path}".lower()).strip("_"),
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in re.findall(r"\{(\w+)\}", operation.path)
        ]
        + [
            {"name": name, "in": place, "description": meaning, "schema": {"type": "string"}}
            for place, taken in (("query", operation.query), ("header", operation.headers))
            for name, meaning in taken.items()
        ],
        "responses": _responses(operation, named),
    }
    if operation.body is not None:
        content = {kind: {"schema": named[_body(operation)]} for kind in operation.body_types}
        described["requestBody"] = {"required": True, "content": content}
    if operation.roles is not None:
        described["security"] = [{"token": []}]
        described["description"] = "For: " + ", ".join(sorted(role.value for role in operation.roles))
    return described


def _body(operation: Operation) -> Any:
    return operation.body_shape or operation.body


def _responses(operation: Operation, named: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": operation.summary}
    if operation.answer is not None:
        answer["content"] = {"application/json": {"schema": named[operation.answer]}}
    elif operation.answer_type:
        answer["content"] = {operation.answer_type: {"schema": {"type": "string"}}}
    responses = {str(operation.status): answer}
    if operation.unchanged:
        responses["304"] = {"description": "What If-None-Match names still stands"}
    for status in sorted({STATUS_OF_CODE[code] for code in operation.codes}):
        of_status = sorted(code.value for code in operation.codes if STATUS_OF_CODE[code] == status)
        responses[str(status)] = {
            "description": " or ".join(of_status),
            "content": {CONTENT_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    return responses


def _raw(shape: type) -> dict[str, Any]:
    if shape is msgspec.Raw:
        return dict(_DECIMAL)
    raise NotImplementedError(shape)
