"""Release V1 as official SDKs see it: streams without reasoning are streams that they understand."""

import json

from sdk_test import SdkCase, need_packages
from parley_test import main
from test_final import PROMPT, SECRET, Provider

CHAT = {"messages": [{"role": "user", "content": PROMPT}]}


class FinalCase(SdkCase, Provider):
    """`assembled` is what the SDK's own helper makes of the events, where it has one."""

    api = body = None

    def text_of(self, value):
        raise NotImplementedError

    def check(self, value):
        self.assertNotIn(SECRET, json.dumps(value))
        self.assertIn(SECRET.encode(), self.sent[-1])
        self.assertEqual(self.text_of(value), "A fox.")

    def test_a_plain_answer(self):
        self.check(self.start(self.client, "plain", body=self.body).value())

    def test_a_stream(self):
        call = self.start(self.client, "stream", body=self.body)
        call.value()
        self.assertNotIn(SECRET, json.dumps(call.events))
        self.assertIn(SECRET.encode(), self.sent[-1])
        self.assertEqual("".join(map(self.piece_of, call.events)), "A fox.")

    def test_the_helper_that_puts_it_together(self):
        if "assembled" not in self.sdk.operations:
            self.skipTest("the SDK has none")
        self.check(self.start(self.client, "assembled", body=self.body).value())


class Anthropic(FinalCase):
    sdk_name, api = "anthropic", "anthropic"
    body = {"model": "m-anthropic", "max_tokens": 64, **CHAT}

    def text_of(self, value):
        (block,) = value["content"]
        return block["text"]

    def piece_of(self, event):
        return event.get("delta", {}).get("text", "")


class OpenAiChat(FinalCase):
    sdk_name, api = "openai_chat", "openai"
    body = {"model": "m-openai", "max_completion_tokens": 64, **CHAT}

    def text_of(self, value):
        return value["choices"][0]["message"]["content"]

    def piece_of(self, event):
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


class OpenAiResponses(FinalCase):
    sdk_name, api = "openai_responses", "responses"
    body = {"model": "m-responses", "max_output_tokens": 64, "input": PROMPT}

    def text_of(self, value):
        (item,) = value["output"]
        return "".join(part["text"] for part in item["content"])

    def piece_of(self, event):
        return event["delta"] if event["type"] == "response.output_text.delta" else ""


class Google(FinalCase):
    sdk_name, api = "google", "gemini"
    body = {"model": "m-gemini", "contents": PROMPT, "config": {"maxOutputTokens": 64}}

    def text_of(self, value):
        return "".join(part.get("text", "") for part in value["candidates"][0]["content"]["parts"])

    piece_of = text_of


class Mistral(FinalCase):
    sdk_name, api = "mistral", "mistral"
    body = {"model": "m-mistral", "maxTokens": 64, **CHAT}

    def text_of(self, value):
        content = value["choices"][0]["message"]["content"]
        return content if isinstance(content, str) else "".join(part["text"] for part in content)

    def piece_of(self, event):
        content = event["data"]["choices"][0]["delta"].get("content") or ""
        return content if isinstance(content, str) else "".join(part["text"] for part in content)


del FinalCase, Provider, SdkCase  # they are no tests

if __name__ == "__main__":
    need_packages()
    main()
