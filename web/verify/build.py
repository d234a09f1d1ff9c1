"""Puts verify.html together: build.py VERSION OUT.html OUT.html.sha256

The modules are joined in the order in which they need each other, so that the page is one file with one
script and one style sheet, each named by its hash in the page's own Content-Security-Policy. The same sources
and version give the same bytes."""

import base64
import hashlib
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = ["bytes", "notes", "receipts", "statistics", "suite", "attempts", "scores", "bundle", "verify", "page"]
IMPORT = re.compile(r'^import (?:\{[^}]*\}) from "\./(\w+)\.mjs";\n', re.M)


def module(name, before):
    """A module's text in a scope that all share: no imports, no exports."""
    text = (HERE / f"{name}.mjs").read_text(encoding="utf-8")
    for needed in IMPORT.findall(text):
        if needed not in before:
            sys.exit(f"{name}.mjs imports {needed}.mjs, which does not stand before it")
    text = re.sub(r"^export ", "", IMPORT.sub("", text), flags=re.M)
    if re.search(r"^(import|export)\b", text, re.M) or "</script" in text:
        sys.exit(f"{name}.mjs: an import or export that build.py cannot take out")
    return f"// ---- {name}.mjs\n{text}"


def check_names(script):
    """Modules that use one name for two things would hide each other."""
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.M)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        sys.exit(f"names that stand in two modules: {', '.join(sorted(twice))}")


def source_hash(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def main():
    version, page_path, digest_path = sys.argv[1:]
    script = '"use strict";\n' + "".join(module(name, MODULES[:i]) for i, name in enumerate(MODULES))
    check_names(script)
    style = (HERE / "page.css").read_text(encoding="utf-8")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for mark, text in (("@SCRIPT@", source_hash(script)), ("@STYLE@", source_hash(style)), ("@VERSION@", version),
                       ("@CSS@", style), ("@JS@", script)):
        page = page.replace(mark, text, 1)
    Path(page_path).write_text(page, encoding="utf-8")
    digest = hashlib.sha256(page.encode()).hexdigest()
    Path(digest_path).write_text(f"{digest}  verify.html\n", encoding="utf-8")
    print(f"verify.html: SHA-256 {digest}")


if __name__ == "__main__":
    main()
