# Every claim against the results: the verdicts, their table and their figure.


rule judge:
    input:
        results=list(ABLATIONS.values()),
        claims="config/claims.yaml",
        sources=sources_of("ablations.judging.judge"),
        schemas=["workflow/schemas/claims.schema.json", "workflow/schemas/verdicts.schema.json"],
    output:
        f"{RESULTS}/claims.json",
    log:
        f"{LOGS}/judge/judge.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations judge --claims {input.claims} --inputs {input.results} --output {output} 2> >(tee {log} >&2)"


rule claims_table:
    input:
        verdicts=rules.judge.output[0],
        template=f"workflow/templates/{CLAIMS_TABLE}.tex.j2",
        sources=sources_of("ablations.rendering.claims"),
    output:
        f"{RESULTS}/{CLAIMS_TABLE}.tex",
    log:
        f"{LOGS}/judge/claims_table.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations claims-table --input {input.verdicts} --output {output} 2> >(tee {log} >&2)"


rule claims_figure:
    input:
        verdicts=rules.judge.output[0],
        style="workflow/src/ablations/rendering/paper.mplstyle",
        sources=sources_of("ablations.rendering.claims"),
    output:
        pdf=f"{FIGURES}/{CLAIMS_FIGURE}.pdf",
        png=report(f"{FIGURES}/{CLAIMS_FIGURE}.png", caption="../report/claims.rst", category="1 Claims"),
    log:
        f"{LOGS}/judge/claims_figure.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations claims-figure --input {input.verdicts} --output {output.pdf} 2> >(tee {log} >&2)"


rule judge_all:
    input:
        rules.judge.output,
        rules.claims_table.output,
        rules.claims_figure.output,
