"""The layer rule of CONTRIBUTING.md, over every #include "layer/…" in src and test.

The order is read from CONTRIBUTING.md itself. A file uses its own layer, those of earlier steps, and
`table`, which is data that any layer may read.
"""

import re

from rules import SOURCE, finish

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
DATA = "table"


def read_order():
    """{layer: step} from the line with the arrows."""
    text = (SOURCE / "CONTRIBUTING.md").read_text()
    line = re.search(r"^ {4}(base(?: ->[^\n]*)?)$", text, re.MULTILINE).group(1)
    return {layer: step for step, names in enumerate(line.split("->"))
            for layer in re.findall(r"\w+", names)}


def includes(path):
    """(line number, included path) of every include in quotes."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1)


def check(path, layer, order, beside):
    """The problems of a file that belongs to `layer`. Files beside it (in `beside`) may be named
    without a folder."""
    for number, name in includes(path):
        where = f"{path.relative_to(SOURCE)}:{number}"
        folder = name.split("/")[0]
        if "/" not in name:
            if not beside or not (path.parent / name).is_file():
                yield f'{where}: "{name}" must name its layer'
        elif folder == DATA:
            continue
        elif folder not in order:
            yield f"{where}: {folder} is no layer of CONTRIBUTING.md"
        elif folder != layer and order[folder] >= order.get(layer, -1):
            yield f"{where}: {layer} must not use {folder}, which does not stand before it"


def main():
    order = read_order()
    problems, count = [], 0
    for folder in sorted(path for path in (SOURCE / "src").iterdir() if path.is_dir()):
        if folder.name not in order and folder.name != DATA:
            problems.append(f"src/{folder.name} is no layer of CONTRIBUTING.md")
    for root, beside in ((SOURCE / "src", False), (SOURCE / "test" / "unit", True)):
        for path in sorted([*root.rglob("*.c"), *root.rglob("*.h")]):
            problems += check(path, path.relative_to(root).parts[0], order, beside)
            count += 1
    finish(problems, f"{count} files, {len(order)} layers")


main()
