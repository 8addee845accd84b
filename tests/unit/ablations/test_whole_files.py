"""Results are replaced as a whole or not at all, and a writer that was killed leaves nothing for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablations.errors import RecordError
from ablations.whole_files import replacing, require_writable, write_text


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    """Before measuring and when writing."""
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "results" / "x.json"
    for attempt in (require_writable, lambda path: write_text(path, "")):
        with pytest.raises(RecordError, match="cannot be written .*choose a writable output directory"):
            attempt(target)


def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    """In the file's own folder, whole as ever; one that leads nowhere yet gets its file."""
    (tmp_path / "elsewhere").mkdir()
    for name in ("there", "absent"):
        link, file = tmp_path / f"{name}.json", tmp_path / "elsewhere" / f"{name}.json"
        link.symlink_to(file)
        if name == "there":
            file.write_text("old")
        require_writable(link)
        write_text(link, "new")
        assert link.is_symlink()
        assert file.read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["absent.json", "there.json"]


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """A pipe, a folder, a link to either, a link to itself: refused before measuring and when writing, and left there."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, target in (("to_pipe", "pipe"), ("to_folder", "folder"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
    before = {path: path.lstat().st_mode for path in tmp_path.iterdir()}
    for path in before:
        for attempt in (require_writable, lambda path: write_text(path, "")):
            with pytest.raises(RecordError, match=rf"Result {path} .*; choose a"):
                attempt(path)
    assert {path: path.lstat().st_mode for path in tmp_path.iterdir()} == before


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Readers never see half of a file."""
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


_WRITES_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from ablations.whole_files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    """As long as the writer lives, another one of the same result leaves it alone."""
    path = tmp_path / "trial_[0].json"
    command = [sys.executable, "-c", _WRITES_UNTIL_KILLED, str(path)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        half_written = tmp_path / writer.stdout.readline().strip()
        write_text(path, "beside it")
        assert half_written.read_text() == "half"
    finally:
        writer.kill()
        writer.communicate()
    write_text(tmp_path / "trial_[0]0.json", "another result")
    assert half_written.exists()
    write_text(path, "after it")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["trial_[0].json", "trial_[0]0.json"]
    assert path.read_text() == "after it"


def test_writers_of_one_result_never_take_each_others_files(tmp_path: Path) -> None:
    """Whoever is last wins, with a whole text, and nothing is left."""
    path = tmp_path / "result.json"
    script = f"""
from pathlib import Path
from ablations.whole_files import write_text

for number in range(200):
    write_text(Path({str(path)!r}), str(number) * 1000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert path.read_text() == "199" * 1000
    assert list(tmp_path.iterdir()) == [path]
