"""Budgets of a week and of money, the tightest scope in the headers, what --usage shows, and that
use survives a restart and a kill."""

import datetime
import json

from parley_test import Case, access, main, openai, product, wait_until

PRICE = {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75}
# 1,000 USD a million tokens: a few answers make cents.
DEAR = {"input": 1000, "output": 1000}


def models(price=None, **members):
    priced = {"price": price} if price else {}
    return [{"name": "north-1", "provider": "north", "upstream": "north-1-20261001",
             "max_output": 8192, **priced, **members},
            {"name": "north-o", "provider": "north-open", "max_output": 8192, **priced}]


def seconds_until(day):
    now = datetime.datetime.now(datetime.timezone.utc)
    then = datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc)
    return (then - now).total_seconds()


def next_monday():
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return today + datetime.timedelta(days=7 - today.weekday())


def next_month():
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return (today.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)


class Budgets(Case):
    def start(self, price=PRICE, limits=None, **members):
        self.gate = self.gateway(self.sim(), product(limits=limits or {}),
                                 models=models(price, **members))
        return self.gate.client("prod", "acme")

    def usage(self, kind="grant", name="prod"):
        return json.loads(self.gate.act(kind, "show", name, "--usage", "--json"))

    def limit(self, name, of="grant"):
        return next(row for row in self.usage()["limits"]
                    if row["limit"] == name and row["of"] == of)

    def refused_in_the_end(self, client, **members):
        for _ in range(60):
            answer = client.messages(max_tokens=64, **members)
            if answer.status != 200:
                return answer
        self.fail("the budget was passed")

    def sums(self):
        """What the log has been told, by class of token."""
        wait_until(lambda: self.gate.metric("parley_in_flight") == 0, "requests to be settled")
        settles = [row for row in self.gate.records("usage") if row["kind"] == "settle"]
        sums = {name: sum(row["usage"][name] for row in settles)
                for name in ("input", "cache_read", "cache_write", "output")}
        return {**sums, "requests": len(settles)}

    def assert_use(self, expected):
        for period in self.usage()["use"]:
            self.assertEqual({name: period[name] for name in expected}, expected)

    def test_tokens_a_week(self):
        client = self.start(limits={"tokens_per_week": 400})
        answer = self.refused_in_the_end(client)
        self.assert_refused(answer, 429, "limit.tokens_per_week", "anthropic")
        self.assertAlmostEqual(int(answer.headers["retry-after"]), seconds_until(next_monday()),
                               delta=120)
        row = self.limit("tokens_per_week")
        used = self.sums()
        self.assertEqual(row["used"], used["input"] + used["cache_write"] + used["output"])
        self.assertEqual((row["max"], row["reserved"]), (400, 0))
        self.assertTrue(row["full_again"].startswith(next_monday().isoformat()))

    def test_money_a_month(self):
        client = self.start(price=DEAR, limits={"usd_per_month": 1})
        answer = self.refused_in_the_end(client)
        self.assert_refused(answer, 429, "limit.usd_per_month", "anthropic")
        self.assertAlmostEqual(int(answer.headers["retry-after"]), seconds_until(next_month()),
                               delta=120)
        used = self.sums()
        millionths = (used["input"] + used["cache_read"] + used["cache_write"] +
                      used["output"]) * 1000
        self.assertLessEqual(millionths, 1000000)
        row = self.limit("usd_per_month")
        self.assertEqual(row["used"], f"0.{millionths:06d}" if millionths < 1000000 else "1.000000")
        self.assertEqual(self.usage()["use"][2]["usd"], row["used"])
        self.assertTrue(row["full_again"].startswith(next_month().isoformat()))
        # One request that costs more than all of it will never be admitted, and says so.
        answer = client.messages("x" * 6000, max_tokens=8192)
        self.assert_refused(answer, 429, "limit.usd_per_month", "anthropic")
        self.assertNotIn("retry-after", answer.headers)

    def test_money_needs_prices(self):
        self.start(price=None)
        path = self.directory / "money.yaml"
        path.write_text(json.dumps(access(product(limits={"usd_per_month": 10}))))
        done = self.gate.run("apply", path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("limits.usd_per_month", done.stderr)
        self.assertIn("has no price in", done.stderr)

    def test_the_tightest_scope_is_told(self):
        self.gate = self.gateway(
            self.sim(), product(limits={"rpm": 600, "output_tpm": 100000, "tokens_per_week": 3000}),
            models=models(PRICE, limits={"rpm": 7}))
        client = self.gate.client("prod", "acme")
        answer = client.messages(max_tokens=64)
        self.assertEqual(answer.status, 200)
        headers = answer.headers
        self.assertEqual(headers["anthropic-ratelimit-requests-limit"], "7")
        self.assertEqual(headers["anthropic-ratelimit-requests-remaining"], "6")
        self.assertEqual(headers["anthropic-ratelimit-output-tokens-limit"], "100000")
        self.assertEqual(headers["anthropic-ratelimit-tokens-limit"], "3000")
        self.assertTrue(headers["anthropic-ratelimit-tokens-reset"]
                        .startswith(next_monday().isoformat()))
        answer = client.ask("openai", openai())
        self.assertEqual(answer.headers["x-ratelimit-limit-requests"], "600")
        self.assertEqual(answer.headers["x-ratelimit-limit-tokens"], "3000")

    def test_an_org_and_a_model_are_limited(self):
        document = access(product("one"), product("two"))
        document["orgs"] = [{**org, "limits": {"rpm": 2}} for org in document["orgs"]]
        self.gate = self.gateway(self.sim(), models=models(PRICE))
        path = self.directory / "org.yaml"
        path.write_text(json.dumps(document))
        self.gate.act("apply", path)
        first, second = self.gate.client("one", "acme"), self.gate.client("two", "acme")
        self.assertEqual(first.messages().status, 200)
        self.assertEqual(second.messages().status, 200)
        answer = first.messages()
        self.assert_refused(answer, 429, "limit.rpm", "anthropic", retry=True)
        self.assertIn("the org has 0 left of 2", answer.message())

    def test_usage_is_shown_and_survives(self):
        limits = {"tokens_per_day": 1000000, "tokens_per_week": 2000000, "usd_per_month": 50}
        client = self.start(limits=limits)
        for turn in range(6):
            client.stream("anthropic" if turn % 2 else "openai", f"turn {turn}").rest()
            self.assertEqual(client.messages(f"turn {turn}").status, 200)
        expected = self.sums()
        self.assertEqual(expected["requests"], 12)
        self.assert_use(expected)
        before = self.usage()
        nano = expected["input"] * 3000 + expected["cache_read"] * 300 + \
            expected["cache_write"] * 3750 + expected["output"] * 15000
        self.assertEqual(before["use"][2]["usd"], f"0.{round(nano / 1000):06d}")
        self.assertEqual(before["use"][0]["tokens"], expected["input"] + expected["output"] +
                         expected["cache_write"])
        text = self.gate.act("grant", "show", "prod", "--usage")
        for word in ("period", "today", "week", "month", "usd_per_month", before["use"][2]["usd"]):
            self.assertIn(word, text)
        self.gate.kill()
        self.gate.start()
        self.assertEqual(self.usage(), before)
        client.port = self.gate.port
        self.assertEqual(client.messages("once more").status, 200)
        self.gate.stop()
        self.gate.start()
        client.port = self.gate.port
        expected = self.sums()
        self.assertEqual(expected["requests"], 13)
        self.assert_use(expected)
        own = client.get("/parley/v1/self").json()
        self.assertEqual(own["use"], self.usage()["use"])
        self.assertEqual(self.limit("tokens_per_week")["used"], own["use"][1]["tokens"])

    def test_what_has_no_use(self):
        self.start()
        self.assertEqual(self.gate.run("grant", "show", "nobody", "--usage").returncode, 1)
        self.assertEqual(self.gate.run("grant", "show", "--usage").returncode, 2)
        self.assertEqual(self.gate.run("grant", "list", "--usage").returncode, 2)


if __name__ == "__main__":
    main()
