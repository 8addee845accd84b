# The signal study in virtual time: the paper's configuration and sweeps, from settings alone; then validated against live trials.


rule simulate_sweeps:
    input:
        sources=sources_of("ablations.simulation.virtual"),
        schema="workflow/schemas/simulation.schema.json",
    output:
        f"{RESULTS}/{SIMULATION_SWEEPS}.json",
    log:
        f"{LOGS}/simulation/sweeps.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=json.dumps(simulation_settings(CONFIG), sort_keys=True),
    shell:
        "python -m ablations simulate --settings {params.settings:q} --output {output} 2> >(tee {log} >&2)"


rule simulate:
    input:
        trials=trials_of("semantic_signals"),
        simulated=rules.simulate_sweeps.output[0],
        sources=sources_of("ablations.simulation.study"),
        schemas=["workflow/schemas/trial_record.schema.json", "workflow/schemas/simulation.schema.json"],
    output:
        f"{RESULTS}/{SIMULATION_RESULT}.json",
    log:
        f"{LOGS}/simulation/simulate.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations simulate --simulated {input.simulated} --output {output} {input.trials} 2> >(tee {log} >&2)"


rule figure_signals_simulation:
    input:
        result=rules.simulate.output,
        style="workflow/src/ablations/rendering/paper.mplstyle",
        sources=sources_of("ablations.rendering.simulation"),
    output:
        pdf=[f"{RESULTS}/{figure}.pdf" for figure in SIMULATION_FIGURES],
        png=[
            report(f"{RESULTS}/{figure}.png", caption=f"../report/{figure}.rst", category="2 Figures")
            for figure in SIMULATION_FIGURES
        ],
    log:
        f"{LOGS}/figures/signals_simulation.log",
    conda:
        "../../envs/environment.yaml"
    params:
        names=SIMULATION_FIGURES,
    shell:
        "python -m ablations simulation-figure {params.names} --input {input.result} --output {output.pdf} 2> >(tee {log} >&2)"


rule simulation_table:
    input:
        result=rules.simulate.output,
        template=f"workflow/templates/{SIMULATION_TABLE}.tex.j2",
        sources=sources_of("ablations.rendering.simulation_table"),
    output:
        f"{RESULTS}/{SIMULATION_TABLE}.tex",
    log:
        f"{LOGS}/tables/simulation.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m ablations simulation-table --input {input.result} --output {output} 2> >(tee {log} >&2)"


rule simulation_all:
    input:
        rules.simulate_sweeps.output,
        rules.simulate.output,
        rules.simulation_table.output,
        [f"{RESULTS}/{figure}{suffix}" for figure in SIMULATION_FIGURES for suffix in (".pdf", ".png")],
