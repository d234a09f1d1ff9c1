"""Killed at any moment under load, the gateway has lost nothing that a client holds.

An outside recorder, the clients themselves, keeps what was acknowledged: a head that arrived stands
for a durable admit record, a whole answer for a durable settle record with the digest of exactly
these bytes. After each kill -9 the gateway starts again and its log is compared. PARLEY_ROUNDS sets how
many kills, PARLEY_FIRST the first one's number, which its moment is drawn from: so that many can be had
from several logs at once (what is compared each time grows with a log).
"""

import os
import random
import time

from parley_test import main, product
from recorder import Recorded

ROUNDS = int(os.environ.get("PARLEY_ROUNDS", "100"))
FIRST = int(os.environ.get("PARLEY_FIRST", "0"))


class Killed(Recorded):
    def setUp(self):
        super().setUp()
        self.begin_recording(self.gateway(self.sim("--output-tokens", 32), product()))

    def one_round(self, seed):
        def end():
            time.sleep(random.Random(seed).uniform(0.02, 0.25))
            self.gate.kill()

        self.record_until_it_ends(seed, end)
        self.gate.start()
        self.client.port = self.gate.port

    def test_kill_at_random_moments_under_load(self):
        unknown, number = [], 0
        while number < ROUNDS or (not unknown and number < ROUNDS + 40):
            self.one_round(FIRST + number)
            unknown = self.check_log()
            number += 1
        print(f"{number} kills: {len(self.whole)} whole answers, {len(self.begun)} begun, "
              f"{len(self.lines)} records, {len(unknown)} of them unknown")
        self.assertGreater(len(self.whole), 2 * ROUNDS)
        self.assertGreater(len(unknown), 0, "no kill met a request in flight: nothing was tested")
        self.assertEqual(self.client.messages().status, 200)
        self.assert_quiet(self.gate)

    def test_acts_that_were_acknowledged_hold(self):
        for number in range(3):
            self.gate.act("grant", "suspend" if number % 2 == 0 else "restore", "prod")
            self.gate.kill()
            self.gate.start()
            self.client.port = self.gate.port
            status = self.client.messages().status
            self.assertEqual(status, 403 if number % 2 == 0 else 200)


if __name__ == "__main__":
    main()
