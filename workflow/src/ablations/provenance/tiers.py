"""Which configuration file makes which tier, found by the name that each file gives itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ablations.configuration import load_config
from ablations.errors import SettingsError
from ablations.provenance.folder import displayed
from ablations.settings import DEFAULT_CONFIG, DEFAULT_TIER, Config, output_dir, repository_root
from ablations.yaml_files import read_yaml

# Claims are no configuration of a tier.
_NOT_TIERS = ("claims.yaml",)


@dataclass(frozen=True, slots=True)
class Tier:
    """A configuration that can be run.

    Attributes:
        config: the whole configuration.
        files: laid over the default one, in order; none for the default tier.
    """

    config: Config
    files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """As the configuration names it."""
        return self.config.tier

    @property
    def source(self) -> str:
        """The file that a user would edit."""
        return displayed(self.files[-1]) if self.files else DEFAULT_CONFIG

    @property
    def results_dir(self) -> Path:
        """Where its results go, absolute."""
        return repository_root() / output_dir("results", self.name)

    def snakemake(self, *targets: str) -> str:
        """Return the command that makes targets in this tier."""
        files = f" --configfile {' '.join(displayed(file) for file in self.files)}" if self.files else ""
        return f"{' '.join(('snakemake --cores 1', *targets))}{files}"


@lru_cache(maxsize=1)
def known_tiers() -> dict[str, Tier]:
    """Return the tiers whose files lie in the repository, by name, the default one first.

    Raises:
        SettingsError: one of the files cannot be used.
    """
    found = {DEFAULT_TIER: Tier(load_config())}
    for folder in ("config", "tests"):
        for path in sorted((repository_root() / folder).glob("*.yaml")):
            content = read_yaml(path, "Configuration", SettingsError)[1] if path.name not in _NOT_TIERS else None
            name = content.get("tier") if isinstance(content, dict) else None
            if isinstance(name, str) and name not in found:
                found[name] = Tier(load_config(path), (path,))
    return found


def tier_of(name: str, files: list[Path]) -> Tier | None:
    """Return the tier of this name: of the given files, else of the repository's; None where no file makes it.

    Raises:
        SettingsError: the given files make another tier, or cannot be used.
    """
    if not files:
        return known_tiers().get(name)
    config = load_config(*files)
    if config.tier != name:
        raise SettingsError(
            f"Results are of tier {name}, but {files[-1]} makes tier {config.tier}; pass the file they were measured with."
        )
    return Tier(config, tuple(files))
