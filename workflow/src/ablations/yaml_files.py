"""Reads the YAML that users write, and refuses what it lets pass and nobody means: a key twice, nesting or aliases without end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ablations.errors import AblationError

# libyaml reads what PyYAML's own parser does, in a tenth of its time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Of what a person writes; whoever reads it calls itself for each level, and looks at what an alias stands for each time.
_MAX_DEPTH = 50
_MAX_VALUES = 100_000


@dataclass(slots=True)
class _Collection:
    """A list or a mapping that is being read.

    Attributes:
        anchor: that aliases name it by.
        is_mapping: of keys and values in turn.
        num_nodes: directly in it, so far.
        num_values: in it, aliases counted as what they stand for.
        keys: of a mapping.
    """

    anchor: str | None
    is_mapping: bool
    num_nodes: int = 0
    num_values: int = 1
    keys: set[str] = field(default_factory=set)


def read_yaml(path: Path, what: str, refusal: type[AblationError]) -> tuple[str, Any]:
    """Return the text of a file and what it holds.

    Args:
        path: of the file.
        what: it is to its author, at the beginning of a sentence.
        refusal: type of the error.

    Raises:
        AblationError: of type `refusal`: a file that cannot be read, is not YAML, or says what nobody means.
    """
    try:
        text = path.read_text()
        _refuse_unmeant(text)
        return text, yaml.load(text, Loader=_LOADER)
    except OSError as error:
        raise refusal(f"{what} {path} cannot be read ({error.strerror}); pass an existing file.") from error
    # Besides YAML's own, that of what is no text, and of dates and numbers that there are none of.
    except (yaml.YAMLError, ValueError) as error:
        raise refusal(f"{what} {path} is not YAML ({' '.join(str(error).split())}); correct it.") from error


def _refuse_unmeant(text: str) -> None:
    """Look at the events of a text, which takes no recursion, before anything that recurses sees its content."""
    within: list[_Collection] = []
    sizes: dict[str | None, int] = {}
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            closed = within.pop()
            if closed.anchor is not None:
                sizes[closed.anchor] = closed.num_values
            if within:
                within[-1].num_values += closed.num_values
        elif isinstance(event, yaml.NodeEvent):
            if within:
                _enter(event, within, sizes)
            if isinstance(event, yaml.CollectionStartEvent):
                within.append(_Collection(event.anchor, isinstance(event, yaml.MappingStartEvent)))
                if len(within) > _MAX_DEPTH:
                    raise _error(f"found more than {_MAX_DEPTH} levels", event)


def _enter(event: yaml.NodeEvent, within: list[_Collection], sizes: dict[str | None, int]) -> None:
    """Count a node of the innermost collection, and refuse the key that is there already and the alias without end."""
    inner = within[-1]
    is_key = inner.is_mapping and inner.num_nodes % 2 == 0
    inner.num_nodes += 1
    if isinstance(event, yaml.AliasEvent):
        if any(event.anchor == outer.anchor for outer in within):
            raise _error(f"found alias {event.anchor!r} within what it stands for", event)
        inner.num_values += sizes.get(event.anchor, 1)
        if inner.num_values > _MAX_VALUES:
            raise _error(f"found aliases that stand for more than {_MAX_VALUES} values", event)
    elif isinstance(event, yaml.ScalarEvent):
        inner.num_values += 1
        if is_key and event.value in inner.keys:
            raise _error(f"found key {event.value!r} twice", event)
        if is_key:
            inner.keys.add(event.value)


def _error(problem: str, event: yaml.Event) -> yaml.YAMLError:
    mark = event.start_mark
    assert mark is not None, "what was read lies somewhere"
    return yaml.YAMLError(f"{problem} in line {mark.line + 1}, column {mark.column + 1}")
