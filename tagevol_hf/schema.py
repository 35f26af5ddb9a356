"""JSON schemas of curate.yaml and study.yaml, for editors that complete and check them while one types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from .recipe import Recipe
from .recipe_steps import MODEL_STEPS, STEPS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = "#/$defs/{model}"
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def recipe_schema() -> dict[str, Any]:
    """Of curate.yaml: what a recipe may hold, with the words of the documentation.

    What no schema can say (which step must come before which, which columns there must be) only `tagevol plan` checks.
    """
    schema = _schema(Recipe)
    schema["properties"]["steps"] = _steps(schema["$defs"])
    names = schema["properties"]["engines"]
    names.pop("additionalProperties", None)
    names.update(
        properties={name: {"type": "string"} for name in ("default", *MODEL_STEPS)}, additionalProperties=False
    )
    return {"$schema": _DIALECT, "title": "A recipe of tagevol_hf (curate.yaml)", **schema}


def study_schema() -> dict[str, Any]:
    """Of study.yaml, likewise."""
    from .study.file import Study

    return {"$schema": _DIALECT, "title": "A study of tagevol_hf (study.yaml)", **_schema(Study)}


class _Documented(GenerateJsonSchema):
    """Puts the descriptions of a class's attributes beside its fields."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().model_schema(schema)
        words = described(schema["cls"])
        for name, field in found.get("properties", {}).items():
            text = words.get(name) or words.get(f"{name}_")
            if text:
                field["description"] = text
        return found


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REFERENCES, schema_generator=_Documented)
    schema.setdefault("$defs", {})
    for part in (schema, *schema["$defs"].values()):
        part.pop("title", None)
        part["description"] = _first_line(part.get("description", ""))
    return schema


def _steps(definitions: dict[str, Any]) -> dict[str, Any]:
    """An array of which an item is a step's name, or one step with its options."""
    properties = {}
    for name, options in STEPS.items():
        schema = _schema(options)
        definitions.update(schema.pop("$defs"))
        definitions[name] = {**schema, "type": ["object", "null"]}
        properties[name] = {"$ref": _REFERENCES.format(model=name), "description": schema["description"]}
    one = {"type": "object", "properties": properties, "additionalProperties": False,
           "minProperties": 1, "maxProperties": 1}  # fmt: skip
    return {"type": "array", "minItems": 1, "items": {"anyOf": [one, {"enum": list(STEPS)}]},
            "description": "What is done, in this order."}  # fmt: skip


def described(model: type[BaseModel]) -> Mapping[str, str]:
    """Attribute → what the docstrings of a class and of those that it is made from say about it."""
    words: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        _, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n") if cls.__doc__ else ("", "", "")
        words |= {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(attributes)}
    return words


def _first_line(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())
