# What counts instead of dates, which lie where a clock was set back: Snakemake compares a file's content only if the file
# is younger than what was made from it.
import contextlib
import hashlib
import time
from functools import lru_cache

# A parameter of every rule: what its files of the repository hold. An edit that is older than what was made before would
# change nothing; parameters are compared whatever the dates. Those that Snakemake computes from a rule's inputs are not,
# so this one is added once all rules are known.


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

# Results cannot be such a parameter, which is computed before they are made. They name their trials by content: one that
# knows another trial than the one that is there, and is younger, was made before the clock was set back.


def date_before_trials(result):
    """Make a result older than the trials that were measured again since, if it is not."""
    try:
        with open(result) as file:
            taken_in = {entry["file"]: entry["sha256"] for entry in json.load(file)["trials"]}
    except (OSError, ValueError, LookupError, TypeError):
        return  # one that is missing or damaged is made again, whatever its date
    for trial, sha256 in taken_in.items():
        if os.path.exists(trial) and file_hash(trial) != sha256:
            before_s = os.stat(trial).st_mtime - 1
            if os.stat(result).st_mtime > before_s:
                os.utime(result, (before_s, before_s))


def date_now(path):
    """Date a file now that is dated ahead; a second ahead is one that is being written."""
    now_s = time.time()
    if os.stat(path).st_mtime > now_s + 1:
        os.utime(path, (now_s, now_s))


# Nothing could be made from what is dated ahead: Snakemake fails a job whose output is older than its input. What vanishes
# meanwhile, or is not this user's, is left to the jobs that need it.
for path in [*glob(f"{RESULTS}/*.*"), *glob(f"{RESULTS}/trials/*/*/*.json"), *glob(f"{RESULTS}/pages/*")]:
    with contextlib.suppress(OSError):
        date_now(path)
for result in [*ABLATIONS.values(), f"{RESULTS}/{SIMULATION_RESULT}.json", f"{RESULTS}/peers.json"]:
    with contextlib.suppress(OSError):
        date_before_trials(result)
