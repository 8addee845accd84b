# On demand, and no part of `all`: this machine's results beside the committed reference runs and the paper.


rule compare:
    input:
        results=rules.aggregate_all.input,
        reference=REFERENCE_RESULTS,
        template="workflow/templates/compare_table.tex.j2",
        sources=sources_of("ablations.provenance.compare"),
    output:
        f"{RESULTS}/compare.json",
        f"{RESULTS}/compare_table.tex",
        f"{RESULTS}/compare.txt",
    log:
        f"{LOGS}/compare.log",
    conda:
        "../../envs/environment.yaml"
    params:
        results_dir=RESULTS,
    shell:
        "python -m ablations compare --results-dir {params.results_dir} --reference-dir results/reference"
        " --output {output[0]} 2> >(tee {log} >&2)"
