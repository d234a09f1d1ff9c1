#!/usr/bin/env python3
"""parley apply: idempotent, with a difference to read; what the file leaves out stays; ten thousand
grants at once, however little room the log has for records of one act."""

import json

from parley_test import Case, access, day, evaluation, main, product


class Difference(Case):
    def setUp(self):
        super().setUp()
        self.place = self.gateway("http://127.0.0.1:9", evaluation(), product())

    def apply(self, content, *options):
        path = self.place.directory / "access.yaml"
        path.write_text(json.dumps(content))
        return self.place.act("apply", path, *options)

    def test_the_same_file_again_changes_nothing(self):
        text = self.apply(access(evaluation(), product()))
        self.assertTrue(text.startswith("0 added, 0 changed, "), text)
        before = len(self.place.records())
        self.apply(access(evaluation(), product()))
        self.assertEqual(len(self.place.records()), before)

    def test_members_that_differ_are_named(self):
        text = self.apply(access(evaluation(limits={"rpm": 7}), product(valid={
            "from": day(-1), "to": day(20)})), "--dry-run")
        self.assertIn("~ grant eval\n    limits: (none) -> {\"rpm\":7}\n", text)
        self.assertIn(f"    valid.to: {day(30)} -> {day(20)}\n", text)
        self.assertIn("(dry run: nothing was done)", text)
        self.assertIn("0 added, 2 changed", text)
        self.assertTrue(self.apply(access(evaluation(), product())).startswith("0 added, 0 changed"))

    def test_what_the_file_leaves_out_is_named_and_stays(self):
        content = access(evaluation())
        content["orgs"] = content["orgs"][:1]
        text = self.apply(content)
        self.assertIn("= org acme is not in the file and stays\n", text)
        self.assertIn("= grant prod is not in the file and stays\n", text)
        self.assertIn("3 not in the file\n", text)
        self.assertIn('"state": "active"', self.place.act("grant", "show", "prod"))
        answer = json.loads(self.apply(content, "--json"))
        self.assertEqual(sorted((row["kind"], row["id"]) for row in answer["left_out"]),
                         [("grant", "prod"), ("org", "acme"), ("org", "surfboard")])


class Many(Case):
    """More records in one act than the log has room for at once."""

    COUNT = 10000

    def test_ten_thousand_grants(self):
        place = self.gateway("http://127.0.0.1:9", product())
        content = access()
        content["orgs"] += [{"id": f"org-{i}"} for i in range(self.COUNT)]
        content["grants"] = [
            {"id": f"grant-{i}", "org": f"org-{i}", "purposes": ["capability_benchmark"],
             "models": ["north-1"], "suites": {"classes": ["reviewed"], "max_leaves": 10},
             "release": "V2", "valid": {"from": day(-1), "to": day(30)}, "limits": {"rpm": 60},
             "overrides": ["D.4a"]} for i in range(self.COUNT)]
        path = place.directory / "many.yaml"
        path.write_text(json.dumps(content))
        text = place.act("apply", path)
        self.assertIn(f"{2 * self.COUNT} added, 0 changed", text)
        self.assertIn("0 added, 0 changed", place.act("apply", path))
        place.stop()
        place.start()
        self.assertIn("0 added, 0 changed", place.act("apply", path))
        self.assertIn('"state": "active"', place.act("grant", "show", f"grant-{self.COUNT - 1}"))


if __name__ == "__main__":
    main()
