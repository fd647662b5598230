"""Reading what people write: strict YAML into pydantic models, with every mistake named by file, line and key.

A document is plain data: mappings, lists, text, numbers, true/false, nothing. Anchors, tags, several documents in one
file and duplicate keys are mistakes, because a reviewer who overlooks one reads something other than the program does.
Whatever the input, the only exception that leaves this module is `DocumentError`.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

KeyPath = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

# Bounds on what is read, not limits on a deployment: no document of ours comes near, and a hostile one stops here.
MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 40
MAX_PROBLEMS: Final = 50

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is built in
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_WORDS: Final[Mapping[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One mistake: the file, its line (from 1; None when the file as a whole is meant), the key, and what is wrong."""

    file: str
    line: int | None
    key: str
    problem: str

    def __str__(self) -> str:
        """`policies/requirements/r01.yaml:12: clauses[0].kind: expected one of inspect, probe; found "X"`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.problem}" if self.key else f"{place}: {self.problem}"


class DocumentError(Exception):
    """A document cannot be used; `problems` holds every mistake found, and `str()` is one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Strict(BaseModel):
    """Base of every model read from a file: frozen, no unknown key, no silent conversion, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def mistake(at: KeyPath, sentence: str) -> PydanticCustomError:
    """The exception for a model validator to raise; `at` is the path of the key within the validated model."""
    # The sentence goes through the context, not the template: it may hold braces that a person wrote.
    return PydanticCustomError("mistake", "{sentence}", {"sentence": sentence, "at": at})


def key_text(path: KeyPath) -> str:
    """`("clauses", 0, "kind")` as a person writes it: `clauses[0].kind`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w/-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean "kind"?` for a near miss, ` Known are: ...` for a short list, else nothing."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1)
    if near:
        return f' Did you mean "{near[0]}"?'
    return f" Known are: {', '.join(choices)}." if 0 < len(choices) <= 20 else ""


def schema_text(model: type[BaseModel]) -> str:
    """The JSON Schema of a model as a file that editors read: indented JSON with a newline at the end."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    _close_patterns(schema)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _close_patterns(schema: Any) -> None:
    # pydantic leaves a mapping open to keys that do not match its pattern; our loader does not.
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close_patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            _close_patterns(value)


@dataclass(frozen=True)
class Document:
    """A file that was read: its plain data, and the line of every key and list item."""

    file: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest thing around it that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: KeyPath, sentence: str) -> Problem:
        """A mistake at `path`, for checks that look across several documents."""
        return Problem(self.file, self.line(path), key_text(path), sentence)

    def parse(self, model: type[M]) -> M:
        """The data as a model. Raises `DocumentError` with every mistake the model found."""
        try:
            # By way of JSON: there pydantic's strict mode still takes lists for tuples and text for dates.
            return model.model_validate_json(json.dumps(self.data))
        except ValidationError as error:
            details = _without_echoes(error.errors(include_url=False), model)
        raise DocumentError(self._from_pydantic(detail, model) for detail in details[:MAX_PROBLEMS])

    def _from_pydantic(self, detail: ErrorDetails, model: type[BaseModel]) -> Problem:
        path: KeyPath = tuple(detail["loc"])
        context = detail.get("ctx", {})
        if detail["type"] == "mistake":
            return self.problem((*path, *context["at"]), context["sentence"])
        # pydantic marks errors about a key by a step "[key]" that is not in the document.
        on_key = bool(path) and path[-1] == "[key]"
        path = path[:-1] if on_key else path
        sentence = _sentence(detail)
        if detail["type"] == "extra_forbidden":
            sentence = "unknown key." + did_you_mean(str(path[-1]), _known_keys(model, path[:-1]))
        elif on_key:
            sentence = f"as a key, {sentence}"
        return self.problem(path, sentence)


def load(path: Path | str, model: type[M]) -> M:
    """The file as a model. Raises `DocumentError`, and nothing else, whatever the file holds."""
    return read(path).parse(model)


def read(path: Path | str) -> Document:
    """The file as plain data with its lines; the top must be a mapping. Raises `DocumentError`."""
    path = Path(path)
    return _Reader(_shown(path)).document(_text(path))


def _shown(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _text(path: Path) -> str:
    def refuse(sentence: str) -> DocumentError:
        return DocumentError([Problem(_shown(path), None, "", sentence)])

    try:
        if path.is_dir():
            raise refuse("this is a folder; name a YAML file.")
        if path.exists() and not path.is_file():
            raise refuse("this is not a regular file; name a YAML file.")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refuse("there is no such file; check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise refuse(f"the file cannot be read ({reason}); check its path and permissions.") from None
    if len(raw) > MAX_BYTES:
        raise refuse(f"the file is larger than {MAX_BYTES} bytes; this cannot be a document of this project.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        sentence = f"byte {error.start} is not UTF-8; save the file as UTF-8."
        raise DocumentError([Problem(_shown(path), line, "", sentence)]) from None


class _StopReadingError(Exception):
    """The rest of the file cannot be read."""


class _Reader:
    """Turns the events of one YAML text into data and lines, collecting mistakes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Problem] = []

    def document(self, text: str) -> Document:
        data: Any = None
        try:
            self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
            data = self._top()
        except _StopReadingError:
            pass
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = error.problem or error.context or "the text cannot be understood"
            # libyaml's own words for the tab, which is the most common case by far, do not name it.
            if "cannot start any token" in what and mark is not None and "\t" in (text.splitlines() or [""])[mark.line]:
                what = "a tab where spaces belong; indent with spaces"
            self._add(mark.line + 1 if mark is not None else None, (), f"not valid YAML: {what}.")
        except yaml.YAMLError as error:
            self._add(None, (), f"not valid YAML: {str(error).splitlines()[0]}.")
        except (ValueError, IndexError) as error:  # what libyaml's wrapper raises on some broken input
            self._add(None, (), f"not valid YAML: {error}.")
        if self.problems:
            raise DocumentError(self.problems)
        return Document(self.file, data, self.lines)

    def _add(self, line: int | None, path: KeyPath, sentence: str) -> None:
        self.problems.append(Problem(self.file, line, key_text(path), sentence))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _StopReadingError

    def _top(self) -> Any:
        next(self.events)  # the start of the stream
        first = next(self.events)
        if isinstance(first, yaml.StreamEndEvent):
            self._add(None, (), "the file is empty.")
            return None
        if first.version is not None or first.tags:
            self._add(first.start_mark.line + 1, (), "directives (%YAML, %TAG) are not used here; remove them.")
        root = next(self.events)
        data = self._value(root, ())
        if not self.problems and not isinstance(data, dict):
            found = "the file holds nothing" if data is None else f"found {_found(data)}"
            self._add(root.start_mark.line + 1, (), f"expected keys and values at the top; {found}.")
        next(self.events)  # the end of the document
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._add(after.start_mark.line + 1, (), "a second document starts here; one file holds one document.")
        return data

    def _value(self, event: Any, path: KeyPath) -> Any:
        line = event.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            self._add(line, path, "anchors and aliases are not used here; write the value out.")
            return None
        if event.anchor is not None:
            self._add(line, path, "anchors and aliases are not used here; write the value out.")
        if event.tag is not None:
            self._add(line, path, "tags (!) are not used here; remove it.")
        if len(path) > MAX_DEPTH:
            self._add(line, (), f"nested more than {MAX_DEPTH} deep; this cannot be a document of this project.")
            raise _StopReadingError
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _list(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                self._add(line, path, "a key must be plain text.")
                raise _StopReadingError
            # A key is text as it is written: 1.10 stays "1.10".
            key = event.value
            if event.anchor is not None or event.tag is not None:
                self._add(line, (*path, key), "anchors and tags are not used here; remove it.")
            if key in items:
                first = self.lines[(*path, key)]
                self._add(line, (*path, key), f"duplicate key; it stands in line {first} already.")
            elif not _is_text(key):
                self._add(line, path, "a key holds half a character (a lone surrogate); write it out.")
            self.lines.setdefault((*path, key), line)
            items[key] = self._value(next(self.events), (*path, key))
        return items

    def _scalar(self, event: Any, path: KeyPath, line: int) -> str | int | float | bool | None:
        value: str = event.value
        if not _is_text(value):
            self._add(line, path, "the text holds half a character (a lone surrogate); write it out.")
            return None
        if event.style:  # in quotes or a block: always text
            return value
        if value in _WORDS:
            return _WORDS[value]
        if _INT.match(value):
            return int(value)
        if _NOT_FINITE.match(value) or (_FLOAT.match(value) and not math.isfinite(float(value))):
            self._add(line, path, f"expected a finite number; found {value[:60]}.")
            return None
        return float(value) if _FLOAT.match(value) and not re.match(r"[-+]?0[0-9]", value) else value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _found(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "keys and values"
        case list() | tuple():
            return "a list"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + '…"'


_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "model_type": "keys and values", "dict_type": "keys and values", "model_attributes_type": "keys and values",
    "tuple_type": "a list", "list_type": "a list",
    "date_type": "a date (2026-01-31)", "date_parsing": "a date (2026-01-31)",
    "date_from_datetime_parsing": "a date (2026-01-31)", "date_from_datetime_inexact": "a date (2026-01-31)",
}  # fmt: skip


def _sentence(detail: ErrorDetails) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return "is missing."
    if kind == "literal_error":
        choices = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        return f"expected one of {choices}; found {_found(value)}."
    if kind == "string_pattern_mismatch":
        return f"expected text of the form {context['pattern']}; found {_found(value)}."
    if kind in _EXPECTED:
        quotes = ": put it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""
        return f"expected {_EXPECTED[kind]}; found {_found(value)}{quotes}."
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}; found {_found(value)}."


def _without_echoes(details: list[ErrorDetails], model: type[BaseModel]) -> list[ErrorDetails]:
    """Drops what only repeats another mistake: a list "too short" for its bad items, a key missing for its typo."""
    misspelt: set[KeyPath] = set()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            *above, key = detail["loc"]
            near = difflib.get_close_matches(str(key), _known_keys(model, tuple(above)), n=1)
            misspelt |= {(*above, name) for name in near}

    def echo(detail: ErrorDetails) -> bool:
        path = detail["loc"]
        if detail["type"] == "missing":
            return path in misspelt
        inner = any(other["loc"][: len(path)] == path for other in details if len(other["loc"]) > len(path))
        return detail["type"] == "too_short" and inner

    return [detail for detail in details if not echo(detail)]


def _known_keys(model: type[BaseModel], path: KeyPath) -> set[str]:
    """The keys the model knows at `path`, found by walking its annotations; empty where it takes any key."""
    here: list[Any] = [model]
    for part in path:
        here = [inner for annotation in here for inner in _inside(annotation, part)]
    models = [m for annotation in here for m in _flat(annotation) if _is_model(m)]
    return {name for m in models for name in m.model_fields}


def _inside(annotation: Any, part: str | int) -> list[Any]:
    found: list[Any] = []
    for option in _flat(annotation):
        if _is_model(option):
            field = option.model_fields.get(str(part))
            found += [field.annotation] if field is not None else []
        else:
            found += [argument for argument in typing.get_args(option) if argument is not ...]
    return found


def _flat(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, types.UnionType}:
        return [option for argument in typing.get_args(annotation) for option in _flat(argument)]
    if origin is typing.Annotated:
        return _flat(typing.get_args(annotation)[0])
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
