"""Verifiers that misbehave, each in its own way; the tests of the grading pool name them by this file."""

from __future__ import annotations

import os
import signal
import sys
import time

from astarpo.rewards.verdicts import Response, Verdict


def stillborn(*_: object) -> None:
    """In place of a worker: it ends before it is ready."""
    os._exit(7)


def odd(gold: str, response: Response) -> Verdict | bool | str | None:
    """Do what the response says."""
    match response.text:
        case "sleep":
            time.sleep(60)
        case "sleep through signals":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(60)
        case "wait a little":
            time.sleep(1.5)
            return True
        case "compute for half a second":
            end = time.process_time() + 0.5
            while time.process_time() < end:
                pass
            return True
        case "spin":
            while True:
                pass
        case "spin through signals":
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            while True:
                pass
        case "exit":
            sys.exit(3)
        case "exit at once":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError("as asked")
        case "interrupt":
            raise KeyboardInterrupt
        case "base":
            raise BaseException("the very base")
        case "memory":
            return Verdict("correct", "x" * 10**11)
        case "recurse":
            return odd(gold, response)
        case "nonsense":
            return "yes"
        case "none":
            return None
    return gold == response.text
