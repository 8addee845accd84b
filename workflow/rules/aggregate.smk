# From trials to one result for each study.


for study in STUDIES:

    rule:
        name:
            f"aggregate_{study}"
        input:
            trials=trials_of(study),
            sources=sources_of("ablations.analysis.aggregate", f"ablations.analysis.{study}"),
            schemas=["workflow/schemas/trial_record.schema.json", "workflow/schemas/aggregated.schema.json"],
        output:
            ABLATIONS[study],
        log:
            f"{LOGS}/aggregate/{study}.log",
        conda:
            "../../envs/environment.yaml"
        params:
            study=study,
            expected=trial_count(CONFIG, study),
        shell:
            "python -m ablations aggregate --study {params.study} --expected-trials {params.expected} --output {output}"
            " {input.trials} 2> >(tee {log} >&2)"


rule aggregate_all:
    input:
        list(ABLATIONS.values()),
        # By name: a lost trial would not be missed as long as what was made from it is there.
        [trial for study in STUDIES for trial in trials_of(study)],
