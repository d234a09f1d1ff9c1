"""The demonstration holds what it promises: it checks itself and ends with 0 only then."""

import os
import subprocess
import sys

from parley_test import PARLEY, SOURCE, Case, main


class Demo(Case):
    def test_the_story(self):
        done = subprocess.run([sys.executable, SOURCE / "scripts" / "lib" / "story.py", PARLEY],
                              capture_output=True, text=True, timeout=600, check=False,
                              env={**os.environ, "PARLEY_DEMO_OUT": str(self.directory / "out")})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("everything was as promised", done.stdout)
        for out in ("southlab-on-north-1", "northlab-on-south-1"):
            self.assertTrue((self.directory / "out" / out / "report.html").is_file())


if __name__ == "__main__":
    main()
