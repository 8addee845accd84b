# Beside the ablations, and no part of `all`: the same operations through what a user would pick instead of Djinn.


rule peers_result:
    input:
        trials=trials_of("peers"),
        sources=sources_of("ablations.analysis.aggregate", "ablations.analysis.peers"),
        schemas=["workflow/schemas/trial_record.schema.json", "workflow/schemas/aggregated.schema.json"],
    output:
        f"{RESULTS}/peers.json",
    log:
        f"{LOGS}/aggregate/peers.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations aggregate --study peers --output {output} {input.trials} 2> >(tee {log} >&2)"


rule peers_table:
    input:
        result=rules.peers_result.output,
        template="workflow/templates/peers_table.tex.j2",
        sources=sources_of("ablations.rendering.tables"),
    output:
        f"{RESULTS}/peers_table.tex",
    log:
        f"{LOGS}/tables/peers.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations table --study peers --input {input.result} --output {output} 2> >(tee {log} >&2)"


rule peers_figure:
    input:
        result=rules.peers_result.output,
        style="workflow/src/ablations/rendering/paper.mplstyle",
        sources=sources_of("ablations.rendering.figures", *panel_modules("peers")),
    output:
        pdf=f"{FIGURES}/peers.pdf",
        png=report(f"{FIGURES}/peers.png", caption="../report/peers.rst", category="2 Figures"),
    log:
        f"{LOGS}/figures/peers.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations figure peers --inputs {input.result} --output {output.pdf} 2> >(tee {log} >&2)"


rule peers:
    input:
        rules.peers_result.output,
        rules.peers_table.output,
        rules.peers_figure.output,
