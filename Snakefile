# Four ablation studies of Djinn: measured trial by trial, aggregated, judged, tabulated, drawn.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/scheduling.smk"
include: "workflow/rules/messages.smk"
include: "workflow/rules/trials.smk"
include: "workflow/rules/journals.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/judge.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/simulation.smk"
include: "workflow/rules/document.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/peers.smk"
include: "workflow/rules/ledger.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/contents.smk"


onstart:
    look_when_jobs_end()
    # Where a file vanished Snakemake leaves by an exception, and calls no handler.
    atexit.register(tell_vanished, log)


rule all:
    default_target: True
    input:
        rules.aggregate_all.input,
        rules.judge_all.input,
        rules.tables_all.input,
        rules.figures_all.input,
        rules.simulation_all.input,
        rules.document.output,
        rules.artifact_appendix.output,
        rules.pages.output,
        rules.ledger.output,
