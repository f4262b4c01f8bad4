"""What stage 1 says of each prompt: whether it is worth training on, and its optimal value V*.

Comes in: graded samples of the reference policy.
Goes out: results/selections/{selection}.parquet and results/values/{value}.parquet.
"""


rule select_prompts:
    input:
        unpack(entry_inputs("selections", "selection")),
        **code("select_prompts"),
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
        settings=settings("selection", "selection"),
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --graded {input.graded:q}"
        " --out {output:q}"


rule estimate_values:
    input:
        unpack(entry_inputs("values", "value")),
        **code("estimate_values"),
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
        settings=settings("value", "value"),
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --graded {input.graded:q}"
        " --out {output:q}"
