# Measuring: one process for each trial.


rule trial:
    input:
        lambda wildcards: sources_of_study(wildcards.study),
    output:
        f"{RESULTS}/trials/{{study}}/{{variant}}/trial_{{trial}}.json",
    log:
        f"{LOGS}/trials/{{study}}/{{variant}}/trial_{{trial}}.log",
    # Everything else shares the cores once nothing is left to measure, instead of leaving some idle between two trials.
    priority: 1
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
