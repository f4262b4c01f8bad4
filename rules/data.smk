"""Data sets and benchmarks.

Comes in: a generated task, a local file or a data set of a hub, as each entry's `source` says.
Goes out: results/datasets/{dataset}.parquet and results/benchmarks/{benchmark}.parquet, each with a card.
"""


rule prepare_dataset:
    input:
        unpack(entry_inputs("datasets", "dataset")),
        **code("prepare_dataset"),
    output:
        table="results/datasets/{dataset}.parquet",
        card="results/datasets/{dataset}.card.json",
    log:
        "results/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/usage/prepare_dataset/{dataset}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("dataset", "dataset"),
        options=options(["source"]),
    shell:
        "python workflow_scripts/launch.py --log {log:q} {input.script:q} --settings {params.settings:q} "
        "{params.options} --out {output.table:q} --out-card {output.card:q}"


rule prepare_benchmark:
    input:
        unpack(entry_inputs("benchmarks", "benchmark")),
        **code("prepare_benchmark"),
    output:
        table="results/benchmarks/{benchmark}.parquet",
        card="results/benchmarks/{benchmark}.card.json",
    log:
        "results/logs/prepare_benchmark/{benchmark}.log",
    benchmark:
        "results/usage/prepare_benchmark/{benchmark}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("benchmark", "benchmark"),
        options=options(["source"]),
    shell:
        "python workflow_scripts/launch.py --log {log:q} {input.script:q} --settings {params.settings:q} "
        "{params.options} --out {output.table:q} --out-card {output.card:q}"
