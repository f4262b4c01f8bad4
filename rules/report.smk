"""Tables, figures and the report.

Comes in: graded answers, manifests, metrics.
Goes out: results/tables/, results/figures/{figure}.{png,pdf} (one rule per kind of figure), results/report.zip.

These take seconds, so on a cluster they run beside Snakemake itself and never wait in a queue.
"""

from astarpo.reruns.code_store import remember
from astarpo.common.files import write_text
from astarpo.config.tables_plan import tables_plan
from astarpo.config.targets import forecasts
from astarpo.figures import TABLES as FIGURE_TABLES


onstart:
    # Snakemake has one such block for the whole workflow, so the checks run here as well.
    check_before_start()
    # What the tables are made of, and what each result must have been made from. It is a file because that of a sweep
    # of some hundred runs does not fit on a command line. It is no rule's output because its hash is already among the
    # settings of `summarize`, and a rule that takes no time would clutter the report's page of runtimes.
    try:
        write_text("results/tables/plan.json", tables_plan(CONFIG))
        remember(job.params.code for job in workflow.dag.needrun_jobs() if "code" in job.params.keys())
    except InputError as error:
        raise WorkflowError(str(error)) from None


if not workflow.modifier.is_main_snakefile():
    # Snakemake leaves out the block of a module; its jobs need what it writes.
    workflow._onstart = lambda log: onstart()


rule summarize:
    input:
        unpack(inputs("summarize")),
    output:
        summary=report(
            "results/tables/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        summary_parquet="results/tables/summary.parquet",
        differences="results/tables/differences.csv",
        differences_parquet="results/tables/differences.parquet",
        curves="results/tables/curves.csv",
        curves_parquet="results/tables/curves.parquet",
        crossings="results/tables/crossings.csv",
        crossings_parquet="results/tables/crossings.parquet",
        cost=report(
            "results/tables/cost.csv",
            caption="../report/cost.rst",
            category="Tables",
            labels={"table": "cost"},
        ),
        cost_parquet="results/tables/cost.parquet",
        markdown="results/tables/main.md",
        latex="results/tables/main.tex",
        main_csv="results/tables/main.csv",
        html=report(
            "results/tables/main.html",
            caption="../report/main.rst",
            category="Tables",
            labels={"table": "main results"},
        ),
        terminal="results/tables/summary.txt",
        provenance="results/tables/provenance.csv",
    log:
        "results/logs/summarize.log",
    benchmark:
        "results/usage/summarize.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("summarize"),
        settings=settings("summarize"),
        templates=TEMPLATES,
        paper=paper_table,
        paper_content=paper_content,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " summarize"
        " --settings {params.settings:q}"
        " --plan results/tables/plan.json"
        " --paper {params.paper:q}"
        " --out-main-csv {output.main_csv:q}"
        " --out-summary {output.summary:q}"
        " --out-summary-parquet {output.summary_parquet:q}"
        " --out-differences {output.differences:q}"
        " --out-differences-parquet {output.differences_parquet:q}"
        " --out-curves {output.curves:q}"
        " --out-curves-parquet {output.curves_parquet:q}"
        " --out-crossings {output.crossings:q}"
        " --out-crossings-parquet {output.crossings_parquet:q}"
        " --out-cost {output.cost:q}"
        " --out-cost-parquet {output.cost_parquet:q}"
        " --out-markdown {output.markdown:q}"
        " --out-latex {output.latex:q}"
        " --out-html {output.html:q}"
        " --out-terminal {output.terminal:q}"
        " --out-provenance {output.provenance:q}"


rule show_examples:
    input:
        unpack(inputs("show_examples")),
    output:
        report(
            "results/tables/examples.html",
            caption="../report/examples.rst",
            category="Responses",
            labels={"what": "responses and their grades"},
        ),
    log:
        "results/logs/show_examples.log",
    benchmark:
        "results/usage/show_examples.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("show_examples"),
        settings=settings("show_examples"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " show_examples"
        " --settings {params.settings:q}"
        " --plan results/tables/plan.json"
        " --out {output:q}"


rule show_validation:
    input:
        unpack(inputs("show_validation")),
    output:
        csv="results/tables/validation.csv",
        markdown="results/tables/validation.md",
        html=report(
            "results/tables/validation.html",
            caption="../report/validation.rst",
            category="Tables",
            labels={"table": "validation"},
        ),
    log:
        "results/logs/show_validation.log",
    benchmark:
        "results/usage/show_validation.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("show_validation"),
        settings=settings("show_validation"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " show_validation"
        " --settings {params.settings:q}"
        " --plan results/tables/plan.json"
        " --out-csv {output.csv:q}"
        " --out-markdown {output.markdown:q}"
        " --out-html {output.html:q}"


rule show_rollouts:
    input:
        unpack(inputs("show_rollouts")),
    output:
        csv="results/tables/rollouts.csv",
        markdown="results/tables/rollouts.md",
        html=report(
            "results/tables/rollouts.html",
            caption="../report/rollouts.rst",
            category="Responses",
            labels={"what": "before and after training"},
        ),
    log:
        "results/logs/show_rollouts.log",
    benchmark:
        "results/usage/show_rollouts.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("show_rollouts"),
        settings=settings("show_rollouts"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " show_rollouts"
        " --settings {params.settings:q}"
        " --plan results/tables/plan.json"
        " --out-csv {output.csv:q}"
        " --out-markdown {output.markdown:q}"
        " --out-html {output.html:q}"


rule show_kinds:
    input:
        unpack(inputs("show_kinds")),
    output:
        csv="results/tables/kinds.csv",
        markdown="results/tables/kinds.md",
        html=report(
            "results/tables/kinds.html",
            caption="../report/kinds.rst",
            category="Tables",
            labels={"table": "by kind of problem"},
        ),
    log:
        "results/logs/show_kinds.log",
    benchmark:
        "results/usage/show_kinds.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        launch=launch,
        code=code("show_kinds"),
        settings=settings("show_kinds"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " show_kinds"
        " --settings {params.settings:q}"
        " --plan results/tables/plan.json"
        " --out-csv {output.csv:q}"
        " --out-markdown {output.markdown:q}"
        " --out-html {output.html:q}"


rule show_kept_steps:
    input:
        unpack(inputs("show_kept_steps")),
    output:
        csv="results/tables/kept_steps.csv",
        parquet="results/tables/kept_steps.parquet",
        markdown="results/tables/kept_steps.md",
        html=report(
            "results/tables/kept_steps.html",
            caption="../report/kept_steps.rst",
            category="Tables",
            labels={"table": "kept steps"},
        ),
    log:
        "results/logs/show_kept_steps.log",
    benchmark:
        "results/usage/show_kept_steps.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        launch=launch,
        code=code("show_kept_steps"),
        settings=settings("show_kept_steps"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " show_kept_steps"
        " --settings {params.settings:q}"
        " --plan results/tables/plan.json"
        " --out-csv {output.csv:q}"
        " --out-parquet {output.parquet:q}"
        " --out-markdown {output.markdown:q}"
        " --out-html {output.html:q}"


# plot_training_curves, plot_accuracy, ...: a rule for each kind.
for KIND in FIGURE_TABLES:

    rule:
        name:
            f"plot_{KIND}"
        input:
            unpack(inputs("plot")),
        output:
            png=report(
                "results/figures/{figure}.png",
                caption=f"../report/{KIND}.rst",
                category="Figures",
                labels={"figure": "{figure}"},
            ),
            pdf="results/figures/{figure}.pdf",
        log:
            f"results/logs/plot_{KIND}/{{figure}}.log",
        benchmark:
            f"results/usage/plot_{KIND}/{{figure}}.tsv"
        wildcard_constraints:
            figure=figure_pattern(CONFIG, KIND),
        localrule: True
        conda:
            "../envs/plotting.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            launch=launch,
            code=code("plot"),
            settings=settings("plot"),
            options=options(FIGURE_TABLES[KIND]),
        shell:
            "python {params.launch}"
            " --log {log:q}"
            " --code {params.code:q}"
            " plot"
            " --settings {params.settings:q}"
            " {params.options}"
            " --out-png {output.png:q}"
            " --out-pdf {output.pdf:q}"


rule report:
    """Snakemake's own report, made by Snakemake of the same configuration."""
    input:
        forecasts(CONFIG),
        targets("figures"),
        targets("evaluate"),
        targets("validation"),
        "results/tables/contamination.html",
    output:
        "results/report.zip",
    log:
        "results/logs/report.log",
    benchmark:
        "results/usage/report.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        workflow=same_workflow,
    shell:
        "snakemake --nolock --cores 1 {input:q} --report {output:q} {params.workflow} > {log:q} 2>&1"
