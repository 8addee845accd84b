# The last thing of a run: the sha256 of every result, and of what it was made from. `python -m ablations verify` reads it.


rule ledger:
    input:
        results=list(ABLATIONS.values()),
        rendered=[
            rules.tables_all.input,
            rules.figures_all.input,
            rules.document.output,
            rules.artifact_appendix.output,
            rules.pages.output,
        ],
        judged=rules.judge_all.input,
        simulation=rules.simulation_all.input,
        schema="workflow/schemas/ledger.schema.json",
        # Every edit brings the ledger up to date, even one that changes no result.
        sources=[relative(path) for path in rendering_files()],
    output:
        # The ledger before this one tells an edited result from one that was made again.
        update(f"{RESULTS}/ledger.json"),
    log:
        f"{LOGS}/ledger.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations ledger --output {output} {input.results} {input.judged} {input.rendered} {input.simulation}"
        " 2> >(tee {log} >&2)"
