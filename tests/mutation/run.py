"""Do the tests notice a wrong library? From the repository: `python tests/mutation/run.py`, half an hour on two cores.

mutmut (its options are in pyproject.toml) changes one thing at a time in the steps, the base and the losses, and runs the tests
that reach it, on PyTorch, without those that compile. Prints how many of these mutants each file's tests killed, and what the
survivors changed; fails where more than one in ten survives. `python tests/mutation/run.py 'keras_xent.steps.*'` tries these
mutants again and keeps the other verdicts, `python tests/mutation/run.py --report` only prints.

Left out, by mutmut: docstrings and annotations, what stands outside of functions (recipes of steps, constants), and functions
with a decorator, here the losses' functions, which check their options and evaluate; by its options: the default `name`.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tomllib

# Runs at import: before mutmut, which imports the package once for all mutants, has chosen one.
AT_IMPORT = re.compile(r"_below_top__|Stepǁ__init__")
SECONDS = 600
# 2: pytest was interrupted, 33: no test reaches the mutant, 34: skipped
VERDICTS = {0: "survived", 1: "killed", 2: "not tried", 3: "killed", 33: "survived", 34: "not tried", None: "not tried"}
MUTANTS = pathlib.Path("mutants")


def verdicts():
    """From mutant to pytest's exit status: 0 is a survivor, 1 a kill, None not tried, others are the end of a process."""
    return {
        name: code
        for file in sorted(MUTANTS.glob("keras_xent/**/*.meta"))
        for name, code in json.loads(file.read_text())["exit_code_by_key"].items()
    }


def keep(name, code):
    """Writes a verdict down where mutmut does."""
    file = MUTANTS / (name.rpartition(".")[0].replace(".", "/") + ".py.meta")
    data = json.loads(file.read_text())
    data["exit_code_by_key"][name] = code
    file.write_text(json.dumps(data))


def try_at_import(names):
    """In forks of a process that has imported everything but the package; the first, unmutated, has to pass."""
    import keras  # noqa: F401
    import pytest

    options = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["tool"]["mutmut"]
    arguments = [*options["pytest_add_cli_args"], *options["pytest_add_cli_args_test_selection"]]
    for name in ["none", *names] if names else []:
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            os.chdir(MUTANTS)
            sys.path.insert(0, os.getcwd())
            os.environ["MUTANT_UNDER_TEST"] = name
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(0 if pytest.main(["-x", "-q", "--rootdir=.", *arguments]) == 0 else 1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if name != "none":
            keep(name, code)
        elif code:
            raise RuntimeError(f"the tests do not pass without a mutation: {code}")


def report():
    """Prints the verdicts; returns the share of kills."""
    counts, survivors = collections.defaultdict(collections.Counter), []
    for name, code in verdicts().items():
        verdict = VERDICTS.get(code, "timed out or crashed")
        counts[name.rpartition(".")[0]][verdict] += 1
        if verdict in ("survived", "not tried"):
            survivors.append(name)
    for name in survivors:
        shown = subprocess.run(["mutmut", "show", name], capture_output=True, text=True, check=True).stdout
        print(f"\n{name}", *re.findall(r"^[-+] .*", shown, re.MULTILINE), sep="\n")
    total = sum(counts.values(), collections.Counter())
    for module, count in [*counts.items(), ("all", total)]:
        print(f"{module:35}", *(f"{verdict}: {number:5}  " for verdict, number in sorted(count.items())))
    killed = 1 - len(survivors) / total.total()
    print(f"{total.total()} mutants, {killed:.1%} noticed")
    return killed


def main(names):
    """Mutates, tries and reports."""
    os.environ |= {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    if names != ["--report"]:
        if not names:
            shutil.rmtree(MUTANTS, ignore_errors=True)
        subprocess.run(["mutmut", "run", "--max-children", os.environ.get("PROCESSES", "2"), *names], check=True)
        patterns = [re.escape(name).replace(r"\*", ".*") for name in names] or [".*"]
        try_at_import([n for n in verdicts() if AT_IMPORT.search(n) and any(re.fullmatch(p, n) for p in patterns)])
    return report() < 0.9


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
