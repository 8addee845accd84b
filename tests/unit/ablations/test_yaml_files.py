"""YAML that users write is read as they mean it; what nobody means is refused before anything recurses into it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ablations.errors import ClaimsError, SettingsError
from ablations.yaml_files import read_yaml


def _read(folder: Path, text: str) -> object:
    path = folder / "mine.yaml"
    path.write_text(text)
    return read_yaml(path, "Configuration", SettingsError)[1]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {b: 1, c: [1, 2]}\nd: *a\ne: {b: 1, <<: *a}\n",
        "a: b\nb: a\nc: [{a: 1}, {a: 1}]\n",
        "{a: {a: {a: a}}}",
        "- 1\n- [2, [3]]\n",
        "",
    ],
)
def test_what_is_meant_is_what_yaml_says(tmp_path: Path, text: str) -> None:
    """Aliases, and one key at several places, are no mistakes."""
    assert _read(tmp_path, text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "x: {y: [{a: 1, 'a': 2}]}", "a: {b: 1}\na: {c: 1}\n"])
def test_a_key_is_there_once(tmp_path: Path, text: str) -> None:
    """PyYAML forgets all but the last without a word."""
    with pytest.raises(SettingsError, match=r"mine.yaml is not YAML \(found key 'a' twice in line \d.*\); correct it"):
        _read(tmp_path, text)


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: {c: *a}}", "&a {a: [1, *a]}"])
def test_an_alias_is_not_within_what_it_stands_for(tmp_path: Path, text: str) -> None:
    """It would have no end."""
    with pytest.raises(SettingsError, match="found alias 'a' within what it stands for"):
        _read(tmp_path, text)


def test_aliases_of_aliases_are_counted_as_what_they_stand_for(tmp_path: Path) -> None:
    """Nine lines of ten would be a billion values for whoever looks at each; a few thousand are fine."""
    lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert _read(tmp_path, "\n".join(lines[:3]))
    with pytest.raises(SettingsError, match="found aliases that stand for more than 100000 values"):
        _read(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("depth", [60, 900, 100_000])
@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_has_an_end(tmp_path: Path, depth: int, opening: str) -> None:
    """At ten thousands of levels libyaml's own loader ends the process."""
    with pytest.raises(SettingsError, match="found more than 50 levels"):
        _read(tmp_path, opening * depth)


def test_it_refuses_with_the_error_of_whoever_reads(tmp_path: Path) -> None:
    """And with its word for the file."""
    with pytest.raises(ClaimsError, match=r"Claims .*absent.yaml cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "absent.yaml", "Claims", ClaimsError)
