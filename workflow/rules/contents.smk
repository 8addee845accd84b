# A parameter of every rule: what its files of the repository hold, because their dates lie where a clock was set back.
#
# Snakemake compares a file's content only if the file is younger than what was made from it. One that is edited after
# the clock was set back is older, and its edit would change nothing. Parameters are compared whatever the dates; those
# that Snakemake computes from a rule's inputs are not, so this one is added once all rules are known.
import hashlib
from functools import lru_cache


def contents_of(known):
    """Return a function of wildcards that hashes a rule's inputs, without results, which other jobs make."""

    def contents(wildcards):
        given = [item(wildcards) if callable(item) else [item] for item in known.input]
        paths = [str(path) for paths in given for path in paths]
        own = [path for path in paths if not path.startswith((f"{RESULTS}/", f"{FIGURES}/"))]
        return hashlib.sha256("".join(map(file_hash, own)).encode()).hexdigest()

    return contents


@lru_cache(maxsize=None)
def file_hash(path):
    """Return the sha256 of a file, read once in a run."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


for known in workflow.rules:
    if known.output:
        known.set_params(contents=contents_of(known))
