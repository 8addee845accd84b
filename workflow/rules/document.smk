# The LaTeX documents for readers of the paper: all results, and the artifact appendix; PDF where LaTeX is installed.


rule document:
    input:
        results=list(ABLATIONS.values()),
        template="workflow/templates/ablation_summary.tex.j2",
        sections=template_files("sections"),
        captions=[
            f"workflow/report/{figure}.rst"
            for figure in [*FIGURE_STUDIES, *SIMULATION_FIGURES, CLAIMS_FIGURE]
        ],
        claims=f"{RESULTS}/claims.json",
        sources=sources_of("ablations.rendering.document"),
    output:
        f"{FIGURES}/ablation_summary.tex",
    log:
        f"{LOGS}/document/document.log",
    conda:
        "../../envs/environment.yaml"
    params:
        results_dir=lambda wildcards, input: os.path.dirname(input.results[0]),
    shell:
        "python -m ablations document --inputs {input.results} --claims {input.claims}"
        " --results-dir {params.results_dir} --output {output}"
        " 2> >(tee {log} >&2)"


rule artifact_appendix:
    input:
        results=list(ABLATIONS.values()),
        claims=f"{RESULTS}/claims.json",
        template="workflow/templates/artifact_appendix.tex.j2",
        pins="envs/requirements.txt",
        sources=sources_of("ablations.rendering.appendix"),
    output:
        f"{FIGURES}/artifact_appendix.tex",
    log:
        f"{LOGS}/document/artifact_appendix.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations appendix --inputs {input.results} --claims {input.claims} --output {output} 2> >(tee {log} >&2)"


# The document and the 2x2 figure share a name, so the PDF is made under another.
rule report_pdf:
    input:
        document=rules.document.output[0],
        tables=rules.tables_all.input,
        figures=rules.figures_all.input,
        claims=rules.claims_figure.output,
        simulation=rules.simulation_all.input,
    output:
        f"{FIGURES}/ablation_report.pdf",
    log:
        f"{LOGS}/document/report_pdf.log",
    conda:
        "../../envs/environment.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        source=lambda wildcards, input: os.path.basename(input.document),
        job=lambda wildcards, output: os.path.splitext(os.path.basename(output[0]))[0],
    shell:
        "command -v pdflatex > {log} || {{ echo 'error: pdflatex is not installed; install a TeX distribution' >&2; exit 1; }};"
        " log=$(realpath {log}); cd {params.folder}; for pass in 1 2; do pdflatex -interaction=nonstopmode -halt-on-error"
        ' -jobname={params.job} {params.source} >> "$log" 2>&1; done; rm -f {params.job}.aux {params.job}.out {params.job}.log'
