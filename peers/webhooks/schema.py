"""Validates payloads against `webhooks` of an OpenAPI description, both given as JSON on standard input;
prints what is wrong. A member that no schema names is wrong too."""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker

given = json.load(sys.stdin)
document = given["openapi"]


def members(schema):
    """Every member a schema names, through references and `allOf`."""
    if "$ref" in schema:
        return members(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    named = dict(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        named.update(members(part))
    return named


def undescribed(value, schema, path):
    named = members(schema)
    for name, inner in value.items():
        if name not in named:
            yield f"{path}.{name} is not described"
        elif isinstance(inner, dict):
            yield from undescribed(inner, named[name], f"{path}.{name}")


wrong = []
for payload in given["payloads"]:
    operation = document["webhooks"][payload["type"]]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    wrong += [f"{payload['type']} at {error.json_path}: {error.message}" for error in validator.iter_errors(payload)]
    wrong += [f"{payload['type']}: {what}" for what in undescribed(payload, content["schema"], "$")]
json.dump(wrong, sys.stdout)
