"""config/schema.json, generated from the typed configuration: completion and checks in an editor.

`python -m slimgen schema` writes it; a test asserts that it is current.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from slimgen.config.run import Config

SCHEMA = Path("config", "schema.json")


def make_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, with the short forms that a file may use."""
    schema = Config.model_json_schema(by_alias=True)
    groups = schema["$defs"]
    for group in [schema, *groups.values()]:
        group.pop("title", None)
        for field in group.get("properties", {}).values():
            field.pop("title", None)
    for group in groups.values():
        if "variants" in group.get("properties", {}):
            group["properties"]["variants"]["additionalProperties"] = _variant(group)
    seeds = schema["properties"]["seeds"]
    schema["properties"]["seeds"] = {
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", **_items(seeds)}],
        "default": seeds["default"],
        "description": seeds["description"],
    }
    name = schema["properties"]["teacher"]["$ref"].rpartition("/")[2]  # two classes are Teacher
    teacher = groups[name]["properties"]
    teacher["from"] = groups["TeacherTrain"]["properties"]["from"]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of slimgen",
    }
    return head | schema


def _items(array: dict[str, Any]) -> dict[str, Any]:
    return {key: array[key] for key in ("items", "minItems") if key in array}


def _variant(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a variant: any of the stage's keys, none of them needed."""
    properties = {key: value for key, value in stage["properties"].items() if key != "variants"}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def schema_text() -> str:
    """Return the text of config/schema.json."""
    return json.dumps(make_schema(), indent=1) + "\n"


def write_schema(argv: list[str]) -> int:
    """Write config/schema.json; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slimgen schema", description=__doc__)
    parser.parse_args(argv)
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    print(SCHEMA)
    return 0
