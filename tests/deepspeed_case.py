"""What torchrun starts for test_deepspeed.py: the cases of a JSON file, one after another, in each process.

torchrun --nproc-per-node N deepspeed_case.py CASES FOLDER_OF_THE_MODEL OUT
"""

from __future__ import annotations

import sys

# Every grading worker imports this file again: torch and DeepSpeed must not come with it.
if __name__ == "__main__":
    from deepspeed_runs import main

    main(*sys.argv[1:])
