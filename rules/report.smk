"""Tables, figures and the report.

Comes in: graded answers, manifests, metrics.
Goes out: results/tables/, results/figures/{figure}.{png,pdf} (a rule a kind of figure), results/report.zip.
"""

from astarpo.common.code_store import remember
from astarpo.common.files import write_text


onstart:
    # Snakemake has one such block for the whole workflow, so this one is the checks' too.
    check_before_start()
    # What the tables are made of, and what each result must have been made from. A file, because a command line could
    # not hold it for a sweep of some hundred runs; no rule's output, because its hash is among the settings of
    # `summarize`, and a rule that takes no time would spoil the report's page of runtimes.
    write_text("results/tables/plan.json", TARGETS.tables_plan())
    remember(job.params.code for job in workflow.dag.needrun_jobs() if "code" in job.params.keys())


if not workflow.modifier.is_main_snakefile():
    # Snakemake leaves out the block of a module; its jobs need what it writes.
    workflow._onstart = lambda log: onstart()


rule summarize:
    input:
        TARGETS.results(),
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
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("summarize"),
        settings=plan_settings,
        paper=paper_table,
        paper_content=paper_content,
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} summarize --settings {params.settings:q} "
        "--plan results/tables/plan.json --paper {params.paper:q} --out-main-csv {output.main_csv:q} --out-summary {output.summary:q} --out-summary-parquet {output.summary_parquet:q} "
        "--out-differences {output.differences:q} --out-differences-parquet {output.differences_parquet:q} "
        "--out-curves {output.curves:q} --out-curves-parquet {output.curves_parquet:q} --out-cost {output.cost:q} "
        "--out-cost-parquet {output.cost_parquet:q} --out-markdown {output.markdown:q} --out-latex {output.latex:q} "
        "--out-html {output.html:q} --out-terminal {output.terminal:q} --out-provenance {output.provenance:q}"


rule show_examples:
    input:
        TARGETS.answered(),
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
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("show_examples"),
        settings=plan_settings,
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} show_examples --settings {params.settings:q} "
        "--plan results/tables/plan.json --out {output:q}"


rule show_validation:
    input:
        metrics=TARGETS.validated(),
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
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("show_validation"),
        settings=plan_settings,
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} show_validation --settings {params.settings:q} "
        "--plan results/tables/plan.json --out-csv {output.csv:q} --out-markdown {output.markdown:q} --out-html {output.html:q}"


rule plot_training_curves:
    input:
        curves="results/tables/curves.parquet",
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/training_curves.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_training_curves/{figure}.log",
    benchmark:
        "results/usage/plot_training_curves/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("training_curves"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_training_curves"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_training_curves --settings {params.settings:q} "
        "--curves {input.curves:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule plot_accuracy:
    input:
        summary="results/tables/summary.parquet",
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/accuracy.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_accuracy/{figure}.log",
    benchmark:
        "results/usage/plot_accuracy/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("accuracy"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_accuracy"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_accuracy --settings {params.settings:q} "
        "--summary {input.summary:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule plot_values:
    input:
        values=values_of_figure,
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/values.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_values/{figure}.log",
    benchmark:
        "results/usage/plot_values/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("values"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_values"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_values --settings {params.settings:q} "
        "--values {input.values:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule plot_time:
    input:
        cost="results/tables/cost.parquet",
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/time.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_time/{figure}.log",
    benchmark:
        "results/usage/plot_time/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("time"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_time"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_time --settings {params.settings:q} "
        "--cost {input.cost:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule plot_training_time:
    input:
        cost="results/tables/cost.parquet",
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/training_time.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_training_time/{figure}.log",
    benchmark:
        "results/usage/plot_training_time/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("training_time"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_training_time"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_training_time --settings {params.settings:q} "
        "--cost {input.cost:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule plot_tradeoff:
    input:
        summary="results/tables/summary.parquet",
        cost="results/tables/cost.parquet",
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/tradeoff.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_tradeoff/{figure}.log",
    benchmark:
        "results/usage/plot_tradeoff/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("tradeoff"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_tradeoff"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_tradeoff --settings {params.settings:q} "
        "--summary {input.summary:q} --cost {input.cost:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule plot_ablation:
    input:
        summary="results/tables/summary.parquet",
        cost="results/tables/cost.parquet",
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/ablation.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/plot_ablation/{figure}.log",
    benchmark:
        "results/usage/plot_ablation/{figure}.tsv"
    wildcard_constraints:
        figure=TARGETS.figure_pattern("ablation"),
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("plot_ablation"),
        settings=settings("figure", "figure"),
    shell:
        "python {params.launch} --log {log:q} --code {params.code:q} plot_ablation --settings {params.settings:q} "
        "--summary {input.summary:q} --cost {input.cost:q} --out-png {output.png:q} --out-pdf {output.pdf:q}"


rule report:
    """Snakemake's own report, made by Snakemake of the same configuration."""
    input:
        targets("figures"),
        targets("tables"),
        targets("validation"),
        "results/tables/contamination.html",
    output:
        "results/report.zip",
    log:
        "results/logs/report.log",
    benchmark:
        "results/usage/report.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        workflow=same_workflow,
    shell:
        "snakemake --nolock --cores 1 {input:q} --report {output:q} {params.workflow} > {log:q} 2>&1"
