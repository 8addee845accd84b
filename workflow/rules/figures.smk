# Figures, each as PDF for the paper and PNG for pages; those that are drawn from the same files by the same code in one process.


for group, names in FIGURE_GROUPS.items():

    rule:
        name:
            f"figure_{group}"
        input:
            results=[ABLATIONS[study] for study in FIGURE_STUDIES[group]],
            style="workflow/src/ablations/rendering/paper.mplstyle",
            sources=sources_of("ablations.rendering.figures", *panel_modules(group)),
        output:
            pdf=[f"{figure_path(name)}.pdf" for name in names],
            png=[
                report(f"{figure_path(name)}.png", caption=f"../report/{name}.rst", category="2 Figures")
                for name in names
            ],
        log:
            f"{LOGS}/figures/{group}.log",
        conda:
            "../../envs/environment.yaml"
        params:
            names=names,
        shell:
            "python -m ablations figure {params.names} --inputs {input.results} --output {output.pdf} 2> >(tee {log} >&2)"


rule figures_all:
    input:
        [f"{figure_path(figure)}{suffix}" for figure in FIGURE_STUDIES for suffix in (".pdf", ".png")],
