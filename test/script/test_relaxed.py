"""Where answers do not wait for their records, the records are what they would have been."""

import concurrent.futures

from parley_test import Case, main, product, wait_until

ROUNDS, STREAMS = 4, 48


class Relaxed(Case):
    def test_streams_that_are_forgotten_before_their_records_are_written(self):
        """A stream under way gives back the memory of its request, where the text of its admit
        record is: not before the log has written that."""
        gate = self.gateway(self.sim("--output-tokens", 8), product(limits={"rpm": 1000000}),
                            workers=1, durability="relaxed")
        client = gate.client("prod", "acme")
        told = []
        with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            for number in range(ROUNDS * STREAMS):
                dialect = ("anthropic", "openai")[number % 2]
                told.append(pool.submit(lambda dialect=dialect: self.ask(client, dialect)))
        ids = [one.result() for one in told]
        # The last of them are written after their answers went out.
        wait_until(lambda: len(gate.records("usage")) >= 2 * len(ids), "all records")
        entries = gate.records("usage")
        admitted = [entry["id"] for entry in entries if entry["kind"] == "admit"]
        self.assertCountEqual(admitted, ids)
        self.assertCountEqual([entry["admit"] for entry in entries if entry["kind"] == "settle"], ids)

    def ask(self, client, dialect):
        answer = client.stream(dialect)
        text = answer.rest()
        self.assertTrue(text)
        return answer.headers["parley-record"]


if __name__ == "__main__":
    main()
