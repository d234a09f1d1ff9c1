"""Turns text files, one after the other, into a C array: embed.py INPUT... OUTPUT_C NAME."""
import sys

*sources, output, name = sys.argv[1:]
data = b""
for source in sources:
    with open(source, "rb") as file:
        data += file.read()
if not all(0 < byte < 128 for byte in data):
    sys.exit(" ".join(sources) + ": must be ASCII")
with open(output, "w", encoding="ascii") as file:
    file.write('#include "grade/%s.h"\n\nconst char %s[] = {\n' % (name, name))
    for start in range(0, len(data), 20):
        file.write(" ".join("%d," % byte for byte in data[start:start + 20]) + "\n")
    file.write("0};\n")
