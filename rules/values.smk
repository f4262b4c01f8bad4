"""What stage 1 tells us about each prompt: whether it is worth training on, and its optimal value V*.

Comes in: graded samples of the reference policy.
Goes out: results/selections/{selection}.parquet, results/values/{value}.parquet, and the forecast of gradient noise in
results/values/{value}.forecast.{parquet,csv,html}.
"""


rule select_prompts:
    input:
        unpack(inputs("select_prompts")),
    output:
        "results/selections/{selection}.parquet",
    log:
        "results/logs/select_prompts/{selection}.log",
    benchmark:
        "results/usage/select_prompts/{selection}.tsv"
    conda:
        "../envs/values.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("select_prompts"),
        settings=settings("select_prompts"),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " select_prompts"
        " --settings {params.settings:q}"
        " --graded {input.graded:q}"
        " --out {output:q}"


rule estimate_values:
    input:
        unpack(inputs("estimate_values")),
    output:
        "results/values/{value}.parquet",
    log:
        "results/logs/estimate_values/{value}.log",
    benchmark:
        "results/usage/estimate_values/{value}.tsv"
    conda:
        "../envs/values.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("estimate_values"),
        settings=settings("estimate_values"),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " estimate_values"
        " --settings {params.settings:q}"
        " --graded {input.graded:q}"
        " --generations {input.generations:q}"
        " --out {output:q}"


rule forecast_noise:
    input:
        unpack(inputs("forecast_noise")),
    output:
        table="results/values/{value}.forecast.parquet",
        csv="results/values/{value}.forecast.csv",
        html=report(
            "results/values/{value}.forecast.html",
            caption="../report/forecast.rst",
            category="Tables",
            labels={"table": "forecast of noise, {value}"},
        ),
    log:
        "results/logs/forecast_noise/{value}.log",
    benchmark:
        "results/usage/forecast_noise/{value}.tsv"
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("forecast_noise"),
        settings=settings("forecast_noise"),
        templates=TEMPLATES,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " forecast_noise"
        " --settings {params.settings:q}"
        " --graded {input.graded:q}"
        " --generations {input.generations:q}"
        " --name {wildcards.value:q}"
        " --out {output.table:q}"
        " --out-csv {output.csv:q}"
        " --out-html {output.html:q}"
