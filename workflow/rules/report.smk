# Pages for readers: the report's tables as HTML, and the text that it opens with; `snakemake --report report.html` puts all together.


rule pages:
    input:
        results=list(ABLATIONS.values()),
        claims=f"{RESULTS}/claims.json",
        templates=template_files("pages"),
        sources=sources_of("ablations.rendering.pages"),
    output:
        claims=report(
            f"{RESULTS}/pages/claims.html", caption="../report/page_claims.rst", category="1 Claims"
        ),
        tables=report(
            f"{RESULTS}/pages/tables.html", caption="../report/page_tables.rst", category="3 Tables"
        ),
        provenance=report(
            f"{RESULTS}/pages/provenance.html",
            caption="../report/page_provenance.rst",
            category="4 Settings, environment, sources",
        ),
        opening=f"{RESULTS}/pages/report.rst",
    log:
        f"{LOGS}/report/pages.log",
    conda:
        "../../envs/environment.yaml"
    params:
        folder=subpath(output.claims, parent=True),
    shell:
        "python -m ablations pages --inputs {input.results} --claims {input.claims} --output-dir {params.folder}"
        " 2> >(tee {log} >&2)"


# The verdicts are known only once they have been judged; until then the report says how to get there.
report:
    f"../../{RESULTS}/pages/report.rst"
    if os.path.exists(f"{RESULTS}/pages/report.rst")
    else "../report/workflow.rst"
