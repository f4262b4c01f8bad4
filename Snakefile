"""A*-PO: from a data set and a model to trained policies, benchmarks, tables and figures; see README.md."""

from snakemake.utils import min_version

min_version("9.27")

# That of the working directory, or else the one that comes with the workflow.
default_config = "config/config.yaml"
if not exists(default_config):
    default_config = workflow.current_basedir.join(default_config).get_path_or_uri(secret_free=True)

# Files given by --configfile stand in place of the default, so that a recipe brings no demo along; --config changes the
# default. To change more of it: --configfile config/config.yaml my-changes.yaml
if not workflow.overwrite_configfiles:

    configfile: default_config


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/checks.smk"
include: "rules/data.smk"
include: "rules/reference.smk"
include: "rules/values.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        targets("all"),


rule data:
    input:
        targets("data"),


rule reference:
    input:
        targets("reference"),


rule values:
    input:
        targets("values"),


rule train:
    input:
        targets("train"),


rule validation:
    input:
        targets("validation"),


rule evaluate:
    input:
        targets("evaluate"),


rule figures:
    input:
        targets("figures"),


onerror:
    print_failures()
