"""Each cause for which a trial would come out otherwise today is told apart, with what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ablations.provenance.folder import TrialHead, read_head
from ablations.provenance.freshness import differences, sources_difference
from ablations.provenance.tiers import known_tiers


def _head(original: Path) -> TrialHead:
    return read_head(original / "trials/plan_cache/decode/trial_0.json")


def _causes(head: TrialHead) -> dict[str, str]:
    return {found.cause: found.text for found in differences(head, known_tiers()["tiny"])}


def test_a_trial_of_now_has_no_difference(original: Path) -> None:
    """Neither in settings, nor code, nor machine."""
    assert _causes(_head(original)) == {}


def test_changed_settings_are_named_with_both_values(original: Path) -> None:
    """A key that is gone, too."""
    head = _head(original)
    study: dict[str, Any] = {**head.settings["study"], "sequences": 7, "speed": 1}
    causes = _causes(msgspec.structs.replace(head, settings={**head.settings, "study": study}))
    assert "study.sequences is 7, now 2" in causes["settings"]
    assert "study.speed is 1, now absent" in causes["settings"]
    assert causes.keys() == {"settings"}


def test_another_machine_is_named_by_its_facts(original: Path) -> None:
    """Not by the load or the free memory."""
    head = _head(original)
    other = head.environment | {"torch": "1.0", "memory_available_bytes": 0}
    assert _causes(msgspec.structs.replace(head, environment=other)).keys() == {"machine"}
    assert "torch is 1.0, here " in _causes(msgspec.structs.replace(head, environment=other))["machine"]
    same = head.environment | {"memory_available_bytes": 0}
    assert _causes(msgspec.structs.replace(head, environment=same)) == {}


def test_other_code_says_what_git_knows() -> None:
    """An unknown revision, and a tree without git, are said so."""
    assert "outside a git checkout" in sources_difference("plan_cache", {"git_revision": None})
    assert "git does not know revision 0000000000" in sources_difference("plan_cache", {"git_revision": "0" * 40})
