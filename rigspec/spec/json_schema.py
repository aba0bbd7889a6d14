"""The JSON Schema of the format, for editors: as wide as what `rigspec check` reads.

Every value of a spec is read as text first, so that `01:00.0` and `off` stay what they are. An
editor's YAML reader makes numbers and booleans of some texts: `rigspec: 1`, `NCCL_DEBUG: 1`.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from rigspec.spec.rig import Rig


class _AsRead(GenerateJsonSchema):
    """Text may stand without quotes."""

    @override
    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        return {**super().str_schema(schema), "type": ["string", "number", "boolean"]}

    @override
    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        texts = schema["expected"]
        numbers = [int(text) for text in texts if isinstance(text, str) and text.isdecimal()]
        return {"enum": [*texts, *numbers]} if numbers else super().literal_schema(schema)


def json_schema() -> dict[str, Any]:
    """The schema of a whole spec."""
    return Rig.model_json_schema(schema_generator=_AsRead)
