# What a reader needs at the end of a run that failed: each failed job's own sentence once more, below what Snakemake says of it.
import atexit
import re


def failure_sentences(snakemake_logs):
    """Return what each failed job said, from the log that Snakemake's own names."""
    failed = []
    for path in snakemake_logs:
        with open(path) as file:
            failed += re.findall(r"^\s*log: (\S+) \(check log", file.read(), re.MULTILINE)
    return [sentence_in(path) for path in dict.fromkeys(failed)]


def sentence_in(path):
    """Return the last line of a job's log that begins with "error:", or where the log is."""
    try:
        with open(path) as file:
            said = [line.strip() for line in file if line.startswith("error:")]
    except OSError:
        said = []
    return (
        said[-1] if said else f"error: a job ended without a sentence; its log {path} shows how far it came."
    )


def tell_vanished(snakemake_logs):
    """Print a sentence for each file that Snakemake waited for in vain, with a remedy other than to wait longer."""
    for path in snakemake_logs:
        with open(path) as file:
            _, waited, awaited = file.read().rpartition("Missing files after")
        for name in re.findall(r"^(\S+) \(missing locally", awaited if waited else "", re.MULTILINE):
            print(
                f"error: {name} was removed while the workflow ran; run the same command again, which makes only "
                "what is lost.",
                file=sys.stderr,
            )


onerror:
    print("", *failure_sentences(log), sep="\n", file=sys.stderr)
    print("Finished jobs are kept: mend this and run the same command again to go on.", file=sys.stderr)
