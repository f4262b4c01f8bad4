"""The logger plugin: Snakemake's events as lines in a log, or as a display on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from astarpo.common.progress import TERMINAL_FD
from snakemake_logger_plugin_stages.display import Lines, TerminalDisplay
from snakemake_logger_plugin_stages.stages import Stages

NOTHING_TO_DO = "Nothing to be done"
# Further messages of Snakemake after a failure: the whole shell command, and that it stops.
FOLLOWING_EXCEPTIONS = ("RuleException", "CalledProcessError")
FOLLOWING_MESSAGES = ("Exiting because a job execution failed", "Shutting down, this might take some time")
# The named targets of the Snakefile: Snakemake counts them as jobs, but they run nothing.
TARGETS = frozenset({"all", "data", "reference", "values", "train", "validation", "evaluate", "figures"})


class LogHandler(LogHandlerBase):
    """Show stages instead of Snakemake's messages; a dry run is shown as by Snakemake itself."""

    def __post_init__(self) -> None:
        """Choose the display: a terminal is redrawn, anything else gets lines."""
        self.stream: TextIO = sys.stdout if self.common_settings.stdout else sys.stderr
        self.stages = Stages()
        self.display: Lines | TerminalDisplay | None = None
        if self.common_settings.dryrun:
            return
        quiet = {kind.name for kind in self.common_settings.quiet or ()}
        if quiet & {"PROGRESS", "ALL"}:  # Snakemake then does not say which jobs have finished
            self.display = Lines(self.stages, self.stream, first_report_s=None)
        elif self.stream.isatty():
            os.environ[TERMINAL_FD] = ""  # so that jobs do not draw bars
            self.display = TerminalDisplay(self.stages, self.stream)
        else:
            self.display = Lines(self.stages, self.stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record if it is of interest to the user."""
        try:
            text = self.format(record) if self.display is None else self._text(record)
            if not text or text == "None":
                return
            if self.display is None:
                print(text, file=self.stream, flush=True)
            else:
                self.display.show(text)
        except Exception:
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str | None:
        """Follow the run, and return the text to show for this record, if any."""
        fields = record.__dict__
        event = fields.get("event")
        if event == LogEvent.RUN_INFO:
            return self._planned(fields["stats"])
        if event == LogEvent.JOB_INFO:
            if fields["rule_name"] not in TARGETS:
                wildcards = [str(value) for value in fields["wildcards"].values()]
                self.stages.start(fields["jobid"], fields["rule_name"], wildcards, fields["log"])
            return None
        if event == LogEvent.JOB_FINISHED:
            return self.stages.finish(fields["job_id"])
        if event == LogEvent.JOB_ERROR:
            return self.stages.fail(fields["jobid"], fields["rule_name"], fields["log"])
        if fields.get("exception") in FOLLOWING_EXCEPTIONS or str(record.msg).startswith(FOLLOWING_MESSAGES):
            return None
        if record.levelno >= logging.WARNING or NOTHING_TO_DO in str(record.msg):
            return record.getMessage()
        return None

    def _planned(self, jobs_by_rule: dict[str, int]) -> str | None:
        if self.stages.counts[1]:  # repeated at the end of some runs
            return None
        stages = {rule: count for rule, count in jobs_by_rule.items() if rule not in {"total", *TARGETS}}
        self.stages.expect(stages)
        jobs = sum(stages.values())
        return f"{jobs} {'job' if jobs == 1 else 'jobs'} in {len(stages)} {'stage' if len(stages) == 1 else 'stages'}"

    def close(self) -> None:
        """Stop redrawing."""
        if self.display is not None:
            self.display.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """The plugin replaces Snakemake's messages on the terminal."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake keeps its own complete log."""
        return False

    @property
    def has_filter(self) -> bool:
        """Failures are shown even with `--quiet`."""
        return not self.common_settings.dryrun

    @property
    def has_formatter(self) -> bool:
        """Whether Snakemake should leave the wording to this plugin."""
        return not self.common_settings.dryrun

    @property
    def needs_rulegraph(self) -> bool:
        """The plugin does not need the rule graph."""
        return False
