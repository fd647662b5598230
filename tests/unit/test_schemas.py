"""The published JSON Schemas are those of the models, and hold for the published files.

`python -m tests.unit.test_schemas` writes them anew after a change of a model.
"""

import json
from pathlib import Path
from typing import Final

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from policies.allowlist import Allowlist
from policies.catalogue import Group
from policies.documents import schema_text
from policies.framework import Framework
from policies.profiles import Profile
from policies.waivers import Waivers
from targets.model import Target

ROOT: Final = Path(__file__).parents[2]

SCHEMAS: Final[dict[str, tuple[type[BaseModel], str]]] = {
    "policies/schemas/catalogue.schema.json": (Group, "policies/requirements/*.yaml"),
    "policies/schemas/soc2.schema.json": (Framework, "policies/frameworks/*.yaml"),
    "policies/schemas/waivers.schema.json": (Waivers, "policies/waivers.yaml"),
    "policies/schemas/profile.schema.json": (Profile, "policies/profiles/*.yaml"),
    "policies/schemas/allowlist.schema.json": (Allowlist, "policies/allowlists/*.yaml"),
    "targets/target.schema.json": (Target, "targets/*.yaml"),
}


@pytest.mark.parametrize("path", SCHEMAS)
def test_published_schema_is_the_models(path: str) -> None:
    model, _ = SCHEMAS[path]
    assert (ROOT / path).read_text() == schema_text(model), "run: python -m tests.unit.test_schemas"


@pytest.mark.parametrize("path", SCHEMAS)
def test_published_files_keep_their_schema_and_point_editors_to_it(path: str) -> None:
    schema = json.loads((ROOT / path).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    files = sorted(ROOT.glob(SCHEMAS[path][1]))
    assert files
    for file in files:
        text = file.read_text()
        jsonschema.validate(yaml.safe_load(text), schema, jsonschema.Draft202012Validator)
        first = text.splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema="), file
        assert (file.parent / first.partition("$schema=")[2]).resolve() == ROOT / path, file


if __name__ == "__main__":
    for published, (published_model, _) in SCHEMAS.items():
        (ROOT / published).write_text(schema_text(published_model))
