"""The published vectors of scorers by an implementation of its own, in Node with its standard library alone."""

import json
import shutil
import subprocess
import unittest
from pathlib import Path

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors" / "scorers.jsonl"
NODE = shutil.which("node")


class Scorers(unittest.TestCase):
    @unittest.skipUnless(NODE, "no node here")
    def test_both_agree(self):
        done = subprocess.run([NODE, HERE / "scorers.mjs", VECTORS], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        told = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(len(told["kinds"]), 14)
        self.assertEqual(told["agree"] + told["left"], len(VECTORS.read_text().splitlines()))
        self.assertEqual(told["left"], 4)  # Python and C

    @unittest.skipUnless(NODE, "no node here")
    def test_a_wrong_vector_is_told(self):
        import tempfile
        lines = VECTORS.read_text().splitlines()
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for line in lines:
                vector = json.loads(line)
                if vector["name"] == "points earned of those to be had":
                    vector["score"] = 0.8
                file.write(json.dumps(vector) + "\n")
            file.flush()
            done = subprocess.run([NODE, HERE / "scorers.mjs", file.name], capture_output=True,
                                  text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("points earned of those to be had: found", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
