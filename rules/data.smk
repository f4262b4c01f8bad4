"""Data sets and benchmarks.

Comes in: a generated task, a local file or a data set of a hub, as each entry's `source` says.
Goes out: results/datasets/{dataset}.parquet and results/benchmarks/{benchmark}.parquet, each with a card;
results/contamination/, what a training set shares with a benchmark.
"""


rule prepare_dataset:
    input:
        unpack(inputs("prepare_dataset")),
    output:
        table="results/datasets/{dataset}.parquet",
        card="results/datasets/{dataset}.card.json",
    log:
        "results/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/usage/prepare_dataset/{dataset}.tsv"
    retries: download_retries(CONFIG.datasets.values())
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("prepare_dataset"),
        settings=settings("prepare_dataset"),
        options=options(["source", "benchmark"]),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " prepare_dataset"
        " --settings {params.settings:q}"
        " {params.options}"
        " --out {output.table:q}"
        " --out-card {output.card:q}"


rule prepare_benchmark:
    input:
        unpack(inputs("prepare_benchmark")),
    output:
        table="results/benchmarks/{benchmark}.parquet",
        card="results/benchmarks/{benchmark}.card.json",
    log:
        "results/logs/prepare_benchmark/{benchmark}.log",
    benchmark:
        "results/usage/prepare_benchmark/{benchmark}.tsv"
    retries: download_retries(CONFIG.benchmarks.values())
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("prepare_benchmark"),
        settings=settings("prepare_benchmark"),
        options=options(["source"]),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " prepare_benchmark"
        " --settings {params.settings:q}"
        " {params.options}"
        " --out {output.table:q}"
        " --out-card {output.card:q}"


rule check_contamination:
    input:
        unpack(inputs("check_contamination")),
    output:
        "results/contamination/{dataset}/{benchmark}.json",
    log:
        "results/logs/check_contamination/{dataset}/{benchmark}.log",
    benchmark:
        "results/usage/check_contamination/{dataset}/{benchmark}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.datasets),
        benchmark=one_of(CONFIG.benchmarks),
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("check_contamination"),
        settings=settings("check_contamination"),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " check_contamination"
        " --settings {params.settings:q}"
        " --dataset {input.dataset:q}"
        " --benchmark {input.benchmark:q}"
        " --out {output:q}"


rule show_contamination:
    input:
        unpack(inputs("show_contamination")),
    output:
        csv="results/tables/contamination.csv",
        html=report(
            "results/tables/contamination.html",
            caption="../report/contamination.rst",
            category="Data",
            labels={"what": "contamination"},
        ),
    log:
        "results/logs/show_contamination.log",
    benchmark:
        "results/usage/show_contamination.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        launch=launch,
        code=code("show_contamination"),
        settings=settings("show_contamination"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " show_contamination"
        " --settings {params.settings:q}"
        " --reports {input.reports:q}"
        " --out-csv {output.csv:q}"
        " --out-html {output.html:q}"
