# The journals of trials: kept for as long as a trial may have to go on from one.


def drop_journals():
    """Remove the journal of each trial that Snakemake has noted as made, and no sooner.

    A trial that was finished when its workflow was killed is not noted and begun again; its journal has the record. One
    that does not end with a record is of a trial that goes on, beside a record from before.
    """
    unnoted = set(marked_incomplete(Path()))
    for journal in glob(f"{RESULTS}/trials/*/*/*.journal.jsonl"):
        record = journal.removesuffix(".journal.jsonl") + ".json"
        if os.path.exists(record) and record not in unnoted and ends_with_record(journal):
            Path(journal).unlink(missing_ok=True)


def ends_with_record(journal):
    """Tell whether a journal's last step is the finished trial."""
    try:
        *_, last = Path(journal).read_text().splitlines()
        return json.loads(last)["step"] == "record"
    except (OSError, ValueError, LookupError, TypeError):
        return False


drop_journals()


onsuccess:
    drop_journals()
