"""What is wrong with a job on a machine, with settings that help: each has been tried before it is advised."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import yaml

from astarpo.config.run_checks import engine_errors, run_errors
from astarpo.config.runs import Config
from astarpo.memory.check import IN_RUN, SHOWN, Remedies, asks_more
from astarpo.memory.parts import Estimate
from astarpo.planning.cards import Machine
from astarpo.planning.jobs import Job, SmallCache
from astarpo.planning.problems import Key, failing, free_bytes, key_of, memory_problem
from astarpo.planning.sharing import sharing_problems
from astarpo.planning.training_jobs import training_job
from astarpo.training.memory import Changes, way_out

Change = tuple[Changes, Changes]  # of the job's run, and of the section `machine`
SHARES = tuple(percent / 100 for percent in range(1, 96))  # of a card that vLLM may take


def job_problems(config: Config, job: Job, machine: Machine) -> list[str]:
    """Say in one line each why a machine cannot run a job, and what to change.

    Args:
        config: checked.
        job: of `problems.all_jobs`, or of `jobs.merged` of these.
        machine: on which it would run; without cards, nothing is said of jobs that need some.
    """
    title, advice = f"{job.stage} of {job.name}", _Advice(config, machine, job)
    if job.cards > 0 and machine.cards == 0:
        return []
    if job.cards > machine.cards:
        return [f"{title}: needs {job.cards} cards, {machine.name} has {machine.cards}: {advice.fewer_cards()}"]
    found = memory_problem(config, job, machine, advice.less_memory())
    problems = [] if found is None else [found]
    if job.cache is not None:
        problems.append(f"{title}: {_too_small(job.cache)}: {advice.larger_cache(job.cache, found is None)}")
    return problems


def _too_small(cache: SmallCache) -> str:
    return (
        f"vLLM's share of the {cache.card} holds keys and values of {max(cache.tokens, 0):,.0f} tokens, but prompt and "
        f"response may have {cache.prompt + cache.response:,}"
    )


@dataclass(frozen=True)
class _Advice:
    """Settings with which a machine can run a job that it could not run."""

    config: Config
    machine: Machine
    job: Job

    def fewer_cards(self) -> str:
        """As many cards as there are, or fewer, with what else that takes."""
        if self.job.stage == "training" and self.config.runs[self._name].pipeline is not None:
            found = self._first([({"pipeline": None}, {})])
            return found or "use a machine with more cards"
        for count in range(self.machine.cards, 0, -1):
            if self.job.stage != "training":
                found = self._first([({}, {"sampler_tensor_parallel": count})])
            else:
                found = self._first(change for change, _ in self._changes({"devices": count}))
            if found is not None:
                return found
        return "use a machine with more cards, or a smaller model"

    def less_memory(self) -> Remedies:
        """Settings with their estimates: those that do not suffice, and up to as many as are shown of those that do."""
        accepted: list[str] = []
        for changed, (text, estimate) in self._remedies():
            if not self._fits(estimate):
                yield text, estimate
            elif len(accepted) < SHOWN and not asks_more(text, accepted) and self._accepts(changed):
                accepted.append(text)
                yield text, estimate

    def larger_cache(self, cache: SmallCache, fits: bool) -> str:
        """A larger share of the card, more cards for each vLLM, or, if the job fits otherwise, shorter responses."""
        if self.job.stage == "training":
            found = self._first(change for change, _ in self._changes({}))
        else:
            now = self.config.machine.sampler_tensor_parallel
            more = range(now + 1, self.machine.cards + 1)
            found = self._first(({}, {"sampler_tensor_parallel": count}) for count in more)
        longest = int(cache.tokens) - cache.prompt
        possible = [found] if found is not None else []
        if fits and longest >= 1:
            possible.append(f"max_new_tokens of at most {longest:,}")
        return ", or ".join(possible) or "use a card with more memory, or a smaller model"

    def _remedies(self) -> Iterator[tuple[Config, tuple[str, Estimate]]]:
        """Settings, as a configuration and as they are written, with the estimate of the job."""
        if self.job.stage == "training":
            for change, estimate in self._changes({}):
                yield self._with(change), (way_out(*change), estimate)
            return
        for text, estimate in self.job.remedies() if self.job.remedies is not None else ():
            yield self._with(_read(text)), (text, estimate)

    def _changes(self, first: Changes) -> Iterator[tuple[Change, Estimate]]:
        """Changes for a training: the first one, then with what makes room besides, all with a share that suffices."""
        start = self._with_share(first)
        job = None if start is None else self._training(start)
        if start is None or job is None or job.estimate is None:
            return
        if start:
            yield ({}, start), job.estimate
        for text, estimate in job.remedies() if job.remedies is not None else ():
            of_run, of_machine = _read(text)
            if not {*of_machine} & {*start}:
                yield (of_run, {**start, **of_machine}), estimate

    def _with_share(self, first: Changes) -> Changes | None:
        """A change; if vLLM does not start with it, with the least larger share that suffices, if there is one."""
        larger = (share for share in SHARES if share > self.config.machine.sampler_memory_share)
        tried = itertools.chain([first], ({**first, "sampler_memory_share": share} for share in larger))
        return next((changes for changes in tried if self._training(changes).cache is None), None)

    def _training(self, changes: Changes) -> Job:
        """The job, a training, with changes."""
        return training_job(self._with(({}, changes)), self._name, self.machine.card, 1)

    def _first(self, possible: Iterable[Change]) -> str | None:
        accepted = (change for change in possible if self._accepts(self._with(change)))
        found = next(accepted, None)
        return None if found is None else way_out(*found)

    def _fits(self, estimate: Estimate) -> bool:
        free = free_bytes(self.job, self.machine)
        ranks = self.config.machine.devices if self.job.stage == "training" and self.job.cards == 0 else 1
        return free is None or ranks * estimate.peak.total <= free

    def _with(self, change: Change) -> Config:
        of_run, of_machine = change
        changed = self.config.changed(machine=self.config.machine.changed(**of_machine))
        if not of_run:
            return changed
        return changed.changed(runs={**changed.runs, self._name: changed.runs[self._name].changed(**of_run)})

    def _accepts(self, changed: Config) -> bool:
        """Whether the machine can run the job with these settings, and every other job that it could run without."""
        if [*engine_errors(changed), *run_errors(changed)] or not {*sharing_problems(changed)} <= {
            *sharing_problems(self.config)
        }:
            return False
        return failing(changed, self.machine) <= self._before - {key_of(self.job)}

    @property
    def _name(self) -> str:
        """Of the job's run, if it is a training."""
        return key_of(self.job)[1]

    @cached_property
    def _before(self) -> set[Key]:
        return failing(self.config, self.machine)


def _read(text: str) -> Change:
    """The changes of a text that `way_out` has written."""
    of_run, _, of_machine = text.rpartition(IN_RUN)
    machine = yaml.safe_load(of_machine.removeprefix(" and ")) or {"machine": {}}
    return yaml.safe_load(of_run) or {}, machine["machine"]
