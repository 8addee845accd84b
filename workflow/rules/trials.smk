# Measuring: one process for each trial.


rule trial:
    input:
        lambda wildcards: sources_of_study(wildcards.study),
    output:
        f"{RESULTS}/trials/{{study}}/{{variant}}/trial_{{trial}}.json",
    log:
        f"{LOGS}/trials/{{study}}/{{variant}}/trial_{{trial}}.log",
    conda:
        "../../envs/environment.yaml"
    # All cores, so that nothing else of this workflow runs beside it; a lock keeps out other workflows.
    threads: lambda wildcards: workflow.cores or 1
    params:
        settings=lambda wildcards: json.dumps(trial_settings(CONFIG, wildcards.study), sort_keys=True),
    message:
        "measuring {wildcards.study}/{wildcards.variant}, trial {wildcards.trial}"
    shell:
        "python -m ablations trial --study {wildcards.study} --variant {wildcards.variant} --trial {wildcards.trial}"
        " --settings {params.settings:q} --output {output} --workflow-pid $PPID 2> >(tee {log} >&2)"


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
