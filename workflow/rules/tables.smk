# LaTeX tables, one template each, and one macro for each number.


for study in STUDIES:

    rule:
        name:
            f"table_{study}"
        input:
            result=ABLATIONS[study],
            simulation=[f"{RESULTS}/{SIMULATION_RESULT}.json"] if study == SIMULATED_STUDY else [],
            template=f"workflow/templates/{TABLE_NAMES[study]}.tex.j2",
            sources=sources_of("ablations.rendering.tables"),
        output:
            f"{RESULTS}/{TABLE_NAMES[study]}.tex",
        log:
            f"{LOGS}/tables/{study}.log",
        conda:
            "../../envs/environment.yaml"
        params:
            study=study,
            simulation=lambda wildcards, input: f"--simulation {input.simulation}" if input.simulation else "",
        shell:
            "python -m ablations table --study {params.study} --input {input.result} {params.simulation} --output {output}"
            " 2> >(tee {log} >&2)"


rule numbers:
    input:
        results=list(ABLATIONS.values()),
        sources=sources_of("ablations.rendering.macros"),
    output:
        f"{RESULTS}/ablation_numbers.tex",
    log:
        f"{LOGS}/tables/numbers.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations numbers --inputs {input.results} --output {output} 2> >(tee {log} >&2)"


rule tables_all:
    input:
        [f"{RESULTS}/{name}.tex" for name in TABLE_NAMES.values()],
        rules.numbers.output,
