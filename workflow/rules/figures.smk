# Figures, each as PDF for the paper and PNG for pages.


for figure, studies in FIGURE_STUDIES.items():

    rule:
        name:
            f"figure_{figure}"
        input:
            results=[ABLATIONS[study] for study in studies],
            style="workflow/src/ablations/rendering/paper.mplstyle",
            sources=sources_of("ablations.rendering.figures", *panel_modules(figure)),
        output:
            pdf=f"{figure_path(figure)}.pdf",
            png=report(f"{figure_path(figure)}.png", caption=f"../report/{figure}.rst", category="2 Figures"),
        log:
            f"{LOGS}/figures/{figure}.log",
        conda:
            "../../envs/environment.yaml"
        params:
            name=figure,
        shell:
            "python -m ablations figure {params.name} --inputs {input.results} --output {output.pdf} 2> >(tee {log} >&2)"


rule figures_all:
    input:
        [f"{figure_path(figure)}{suffix}" for figure in FIGURE_STUDIES for suffix in (".pdf", ".png")],
