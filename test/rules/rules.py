"""What the tests of the rules share: the source tree, and problems told with file and line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("PARLEY_SOURCE", Path(__file__).resolve().parents[2]))
SKIPPED = 77  # meson's exit status of a skipped test


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def finish(problems, checked):
    """Prints the problems, or how much was checked, and ends the test."""
    for problem in problems:
        print(problem)
    print(f"{checked}: {len(problems)} problems")
    if not checked:
        sys.exit("nothing was checked: the test is broken")
    sys.exit(1 if problems else 0)


def tracked_files():
    """The files that git knows or would add, or None outside a git work tree."""
    if not shutil.which("git"):
        return None
    done = subprocess.run(["git", "-c", f"safe.directory={SOURCE}", "-C", SOURCE, "ls-files", "-z",
                           "--cached", "--others", "--exclude-standard"],
                          capture_output=True, check=False)
    if done.returncode != 0:
        return None
    paths = [SOURCE / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]
