# The journals of trials: kept for as long as a trial may have to go on from one.


def drop_journals():
    """Remove the journal of each trial that Snakemake has noted as made, and no sooner.

    A trial that was finished when its workflow was killed is not noted and begun again; its journal has the record.
    """
    unnoted = set(marked_incomplete(Path()))
    for journal in glob(f"{RESULTS}/trials/*/*/*.journal.jsonl"):
        record = journal.removesuffix(".journal.jsonl") + ".json"
        if os.path.exists(record) and record not in unnoted:
            os.remove(journal)


drop_journals()


onsuccess:
    drop_journals()
