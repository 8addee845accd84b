# On demand, and no part of `all`: this machine's results beside the committed reference runs and the paper.


rule compare:
    input:
        results=list(ABLATIONS.values()),
        reference=REFERENCE_RESULTS,
        template="workflow/templates/compare_table.tex.j2",
        sources=sources_of("ablations.provenance.compare"),
    output:
        result=f"{RESULTS}/compare.json",
        table=f"{RESULTS}/compare_table.tex",
        text=f"{RESULTS}/compare.txt",
    log:
        f"{LOGS}/compare.log",
    conda:
        "../../envs/environment.yaml"
    params:
        results_dir=lambda wildcards, output: os.path.dirname(output.result),
    shell:
        "python -m ablations compare --results-dir {params.results_dir} --reference-dir results/reference"
        " --output {output.result} 2> >(tee {log} >&2)"
