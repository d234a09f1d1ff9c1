#include "dialect/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct dialect_endpoint *endpoint_of(enum dialect_id dialect)
{
	return dialect_endpoint_of(dialect, false);
}

static enum err_code read_body(enum dialect_id dialect, struct bytes body, struct json_scan *scan,
			       struct dialect_request *out, struct err *err)
{
	if (json_scan_text(scan, body, "the body", err) != ERR_OK)
		return ERR_INVALID;
	struct dialect_route route = {endpoint_of(dialect), dialect,
				      BYTES("/v1beta/models/g-1:generateContent")};
	return dialect_request_read(&route, scan, body, out, err);
}

static struct dialect_request facts_of(enum dialect_id dialect, const char *body)
{
	struct json_scan scan;
	struct dialect_request request;
	struct err err = ERR_INIT;
	if (read_body(dialect, bytes_from(body), &scan, &request, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return request;
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *method, *path;
		bool version;
		enum endpoint_kind kind;
		enum dialect_id dialect;
	} rows[] = {
		{"POST", "/v1/messages",                           true,  ENDPOINT_MESSAGES,         DIALECT_ANTHROPIC},
		{"POST", "/v1/messages",                           false, ENDPOINT_MESSAGES,         DIALECT_ANTHROPIC},
		{"POST", "/v1/messages/count_tokens",              true,  ENDPOINT_COUNT_TOKENS,
		 DIALECT_ANTHROPIC										    },
		{"POST", "/v1/chat/completions",                   false, ENDPOINT_CHAT_COMPLETIONS, DIALECT_OPENAI   },
		{"GET",  "/v1/models",                             false, ENDPOINT_MODELS,           DIALECT_OPENAI   },
		{"GET",  "/v1/models",                             true,  ENDPOINT_MODELS,           DIALECT_ANTHROPIC},
		{"GET",  "/v1/messages",                           true,  ENDPOINT_NONE,             DIALECT_ANTHROPIC},
		{"POST", "/v1/messages/batches",                   true,  ENDPOINT_NONE,             DIALECT_ANTHROPIC},
		{"POST", "/v1/messages/",                          true,  ENDPOINT_NONE,             DIALECT_ANTHROPIC},
		{"POST", "/V1/messages",                           false, ENDPOINT_NONE,             DIALECT_OPENAI   },
		{"POST", "/v1/responses",                          false, ENDPOINT_RESPONSES,        DIALECT_RESPONSES},
		{"GET",  "/v1/responses",                          false, ENDPOINT_NONE,             DIALECT_RESPONSES},
		{"GET",  "/v1/responses/resp_1",                   false, ENDPOINT_NONE,             DIALECT_RESPONSES},
		{"POST", "/v1beta/models/g:generateContent",       false, ENDPOINT_GENERATE_CONTENT,
		 DIALECT_GEMINI										       },
		{"POST", "/v1beta/models/g:streamGenerateContent", false, ENDPOINT_GENERATE_CONTENT,
		 DIALECT_GEMINI										       },
		{"POST", "/v1/models/g:generateContent",           false, ENDPOINT_GENERATE_CONTENT,
		 DIALECT_GEMINI										       },
		{"POST", "/v1/models/g:streamGenerateContent",     false, ENDPOINT_GENERATE_CONTENT,
		 DIALECT_GEMINI										       },
		{"POST", "/v1/models/g:countTokens",               false, ENDPOINT_COUNT_TOKENS,     DIALECT_GEMINI   },
		{"GET",  "/v1/models/g",                           false, ENDPOINT_NONE,             DIALECT_OPENAI   },
		{"POST", "/v1beta/models/g:countTokens",           false, ENDPOINT_COUNT_TOKENS,
		 DIALECT_GEMINI										       },
		{"POST", "/v1beta/models/:generateContent",        false, ENDPOINT_NONE,             DIALECT_GEMINI   },
		{"POST", "/v1beta/models/g:batchGenerateContent",  false, ENDPOINT_NONE,
		 DIALECT_GEMINI										       },
		{"POST", "/v1beta/tunedModels/g:generateContent",  false, ENDPOINT_NONE,
		 DIALECT_GEMINI										       },
		{"GET",  "/v1beta/models",                         true,  ENDPOINT_MODELS,           DIALECT_GEMINI   },
		{"POST", "/v1beta/files",                          false, ENDPOINT_NONE,             DIALECT_GEMINI   },
		{"POST", "/v1/files",                              false, ENDPOINT_NONE,             DIALECT_OPENAI   },
		{"get",  "/v1/models",                             false, ENDPOINT_NONE,             DIALECT_OPENAI   },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct dialect_endpoint *found = dialect_endpoint_find(
			bytes_from(rows[i].method), bytes_from(rows[i].path), rows[i].version);
		assert_int_equal(found ? found->kind : ENDPOINT_NONE, rows[i].kind);
		assert_int_equal(found ? found->dialect
				       : dialect_guess(bytes_from(rows[i].path), rows[i].version),
				 rows[i].dialect);
	}
}

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(dialect_from_name(BYTES("anthropic")), DIALECT_ANTHROPIC);
	assert_int_equal(dialect_from_name(BYTES("openai")), DIALECT_OPENAI);
	assert_int_equal(dialect_from_name(BYTES("responses")), DIALECT_RESPONSES);
	assert_int_equal(dialect_from_name(BYTES("gemini")), DIALECT_GEMINI);
	assert_int_equal(dialect_from_name(BYTES("mistral")), DIALECT_MISTRAL);
	assert_int_equal(dialect_from_name(BYTES("xai")), DIALECT_XAI);
	assert_int_equal(dialect_from_name(BYTES("OpenAI")), DIALECT_NONE);
	assert_string_equal(dialect_name(DIALECT_NONE), "none");
}

static void test_anthropic_facts(void **state)
{
	struct dialect_request request = facts_of(
		DIALECT_ANTHROPIC,
		"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"system\":\"Be brief.\","
		"\"max_tokens\":100,\"stream\":true,\"tools\":[{\"name\":\"f\"}],"
		"\"thinking\":{\"type\":\"enabled\"},\"model\":\"north-1\"}");
	(void)state;
	assert_true(bytes_is(request.model, "north-1"));
	assert_true(request.stream);
	assert_int_equal(request.max_output, 100);
	assert_int_equal(request.n, 1);
	assert_int_equal(request.flags, DIALECT_TOOLS | DIALECT_REASONING);
	assert_int_equal(request.unknown_count, 0);
	assert_int_equal(request.prompt_bytes, strlen("[{\"role\":\"user\",\"content\":\"Hi\"}]") +
						       strlen("\"Be brief.\"") +
						       strlen("[{\"name\":\"f\"}]"));
}

static void test_openai_facts(void **state)
{
	struct dialect_request request = facts_of(
		DIALECT_OPENAI,
		"{\"model\":\"a/b:c@d_e.f-1\",\"messages\":[],\"max_completion_tokens\":2147483648,"
		"\"n\":3,\"logprobs\":true,\"top_logprobs\":2,\"logit_bias\":{\"1\":2},"
		"\"stream_options\":{\"include_usage\":true},\"x1\":1,\"x2\":2,\"max_tokens\":"
		"null}");
	(void)state;
	assert_false(request.stream);
	assert_int_equal(request.max_output, 2147483648);
	assert_int_equal(request.n, 3);
	assert_int_equal(request.flags,
			 DIALECT_LOGPROBS | DIALECT_LOGIT_BIAS | DIALECT_USAGE_ASKED);
	assert_int_equal(request.unknown_count, 2);
	assert_true(bytes_is(request.unknown[1], "x2"));
	request = facts_of(DIALECT_OPENAI,
			   "{\"model\":\"m\",\"messages\":[],\"logprobs\":false,\"logit_bias\":{},"
			   "\"tools\":[],\"n\":null,\"stream\":null}");
	assert_false(request.stream);
	assert_int_equal(request.flags, 0);
	assert_int_equal(request.max_output, -1);
	assert_int_equal(request.n, 1);
}

static void test_responses_facts(void **state)
{
	struct dialect_request request = facts_of(
		DIALECT_RESPONSES,
		"{\"model\":\"m\",\"input\":\"Hi\",\"instructions\":\"Be brief.\",\"stream\":true,"
		"\"max_output_tokens\":7,\"tools\":[{\"type\":\"function\",\"name\":\"f\"}],"
		"\"reasoning\":{\"effort\":\"low\"},\"store\":false,\"background\":null,"
		"\"previous_response_id\":null,\"include\":[\"message.output_text.logprobs\"],"
		"\"new\":1}");
	(void)state;
	assert_true(bytes_is(request.model, "m"));
	assert_true(request.stream);
	assert_int_equal(request.max_output, 7);
	assert_int_equal(request.flags, DIALECT_TOOLS | DIALECT_REASONING | DIALECT_LOGPROBS);
	assert_int_equal(request.unknown_count, 1);
	assert_int_equal(request.prompt_bytes,
			 strlen("\"Hi\"") + strlen("\"Be brief.\"") +
				 strlen("[{\"type\":\"function\",\"name\":\"f\"}]"));
}

static void test_gemini_facts(void **state)
{
	struct dialect_request request =
		facts_of(DIALECT_GEMINI,
			 "{\"contents\":[{\"parts\":[{\"text\":\"Hi\"}]}],\"generationConfig\":{"
			 "\"maxOutputTokens\":9,\"candidateCount\":2,\"responseLogprobs\":true,"
			 "\"thinkingConfig\":{\"thinkingBudget\":5},\"newOne\":1}}");
	struct dialect_route route = {dialect_endpoint_of(DIALECT_GEMINI, true), DIALECT_GEMINI,
				      BYTES("/v1beta/models/a/b:c:streamGenerateContent")};
	struct bytes body = BYTES("{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":{"
				  "\"thinkingBudget\":0}}}");
	struct json_scan scan;
	(void)state;
	assert_true(bytes_is(request.model, "g-1"));
	assert_false(request.stream);
	assert_int_equal(request.max_output, 9);
	assert_int_equal(request.n, 2);
	assert_int_equal(request.flags, DIALECT_LOGPROBS | DIALECT_REASONING);
	assert_int_equal(request.unknown_count, 1);
	assert_true(bytes_is(request.unknown[0], "newOne"));
	assert_int_equal(json_scan_text(&scan, body, "the body", NULL), ERR_OK);
	assert_int_equal(dialect_request_read(&route, &scan, body, &request, NULL), ERR_OK);
	assert_true(bytes_is(request.model, "a/b:c"));
	assert_true(request.stream);
	assert_int_equal(request.flags, 0);
}

/* What one client keeps at the provider another could name: one credential stands for all. */
static void test_what_is_kept_upstream_is_refused(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *member; /* beside model and input, or contents */
	} rows[] = {
		{DIALECT_RESPONSES, "\"previous_response_id\":\"resp_1\""                                          },
		{DIALECT_RESPONSES, "\"conversation\":{\"id\":\"conv_1\"}"                                         },
		{DIALECT_RESPONSES, "\"prompt\":{\"id\":\"pmpt_1\"}"                                               },
		{DIALECT_RESPONSES, "\"background\":true"							  },
		{DIALECT_RESPONSES, "\"store\":true"							       },
		{DIALECT_RESPONSES, "\"store\":\"no\""							     },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"file_search\"}]"                                       },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"x\",\"vector_store_ids\":[]}]"                         },
		{DIALECT_RESPONSES,
		 "\"tools\":[{\"type\":\"code_interpreter\",\"container\":\"c\"}]"                                 },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"code_interpreter\",\"container\":{"
				    "\"file_ids\":[\"f\"]}}]"                   },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"code_interpreter\",\"container\":{"
				    "\"file\\u005fids\":[\"f\"]}}]"             },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"code_interpreter\","
				    "\"c\\u006fntainer\":\"c\"}]"               },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"code_interpreter\",\"container\":\"c\","
				    "\"container\":{\"type\":\"auto\"}}]"       },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"x\",\"\\u0074ype\":\"file_search\","
				    "\"vector\\u005fstore_ids\":[\"v\"]}]"      },
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"image_generation\","
				    "\"input_image_mask\":{\"file_id\":\"f\"}}]"},
		{DIALECT_RESPONSES, "\"tools\":[{\"type\":\"shell\",\"environment\":{"
				    "\"container_id\":\"c\"}}]"                 },
		{DIALECT_GEMINI,    "\"tools\":[{\"fileSearch\":{\"fileSearchStoreNames\":[\"s\"]}}]"              },
		{DIALECT_GEMINI,    "\"tools\":[{\"file_search\":{}}]"                                             },
		{DIALECT_GEMINI,    "\"tools\":[{\"file\\u0053earch\":{}}]"                                        },
		{DIALECT_GEMINI,    "\"systemInstruction\":{\"parts\":[{\"fileData\":{}}]}"                        },
		{DIALECT_GEMINI,    "\"cachedContent\":\"cachedContents/1\""                                       },
		{DIALECT_GEMINI,    "\"store\":true"							       },
		{DIALECT_GEMINI,    "\"model\":\"models/other\""                                                   },
		{DIALECT_GEMINI,    "\"generateContentRequest\":{\"model\":\"models/other\"}"                      },
		{DIALECT_XAI,       "\"deferred\":true"							    },
		{DIALECT_ANTHROPIC, "\"container\":\"container_1\""                                                },
		{DIALECT_ANTHROPIC, "\"container\":{\"id\":\"container_1\"}"                                       },
		{DIALECT_ANTHROPIC, "\"container\":{\"skills\":[]}"                                                },
	};
	static const struct {
		enum dialect_id dialect;
		const char *body;
	} words[] = {
		{DIALECT_RESPONSES, "[{\"type\":\"item_reference\"}]"                                    },
		{DIALECT_RESPONSES, "[{\"type\":\"item\\u005freference\"}]"                              },
		{DIALECT_RESPONSES, "[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]"                   },
		{DIALECT_RESPONSES, "[{\"id\":\"msg_1\"}]"                                               },
		{DIALECT_RESPONSES, "[{\"\\u0069d\":\"msg_1\"}]"                                         },
		{DIALECT_RESPONSES, "[{\"type\":null,\"id\":\"msg_1\"}]"                                 },
		{DIALECT_RESPONSES,
		 "[{\"type\":\"item\\u005freference\",\"role\":\"user\",\"id\":\"msg_1\"}]"              },
		{DIALECT_RESPONSES,
		 "[{\"type\":\"item_reference\",\"type\":\"message\",\"id\":\"msg_1\"}]"                 },
		{DIALECT_RESPONSES, "[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\","
				    "\"file_id\":\"file-1\"}]}]"      },
		{DIALECT_RESPONSES, "[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\","
				    "\"file\\u005fid\":\"file-1\"}]}]"},
		{DIALECT_RESPONSES,
		 "[{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":["
		 "{\"type\":\"input_image\",\"file_id\":\"file-1\"}]}]"                                  },
		{DIALECT_RESPONSES,
		 "[{\"type\":\"code_interpreter_call\",\"container_id\":\"c\"}]"                         },
		{DIALECT_GEMINI,    "[{\"parts\":[{\"fileData\":{\"fileUri\":\"f\"}}]}]"                 },
		{DIALECT_GEMINI,    "[{\"parts\":[{\"file_data\":{\"file_uri\":\"f\"}}]}]"               },
		{DIALECT_GEMINI,    "[{\"parts\":[{\"file\\u0044ata\":{\"fileUri\":\"f\"}}]}]"           },
		{DIALECT_ANTHROPIC,
		 "[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"source\":{"
		 "\"type\":\"file\",\"file_id\":\"file_1\"}}]}]"                                         },
		{DIALECT_ANTHROPIC,
		 "[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{"
		 "\"type\":\"file\",\"file\\u005fid\":\"file_1\"}}]}]"                                   },
		{DIALECT_ANTHROPIC,
		 "[{\"role\":\"user\",\"content\":[{\"type\":\"container_upload\","
		 "\"file_id\":\"file_1\"}]}]"							    },
		{DIALECT_ANTHROPIC,
		 "[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
		 "\"tool_use_id\":\"t\",\"content\":[{\"type\":\"image\",\"source\":{"
		 "\"type\":\"file\",\"file_id\":\"file_1\"}}]}]}]"                                       },
		{DIALECT_OPENAI,    "[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{"
				 "\"file_id\":\"file-1\"}}]}]"           },
		{DIALECT_OPENAI,    "[{\"role\":\"assistant\",\"audio\":{\"id\":\"audio_1\"}}]"          },
		{DIALECT_MISTRAL,   "[{\"role\":\"user\",\"content\":[{\"type\":\"file\","
				  "\"file_id\":\"f\"}]}]"               },
		{DIALECT_XAI,       "[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\","
			      "\"file_id\":\"f\"}]}]"                       },
	};
	struct json_scan scan;
	struct dialect_request request;
	struct buf body = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&body);
		buf_printf(&body, "{%s,%s}",
			   rows[i].dialect == DIALECT_RESPONSES ? "\"model\":\"m\",\"input\":\"x\""
			   : rows[i].dialect == DIALECT_GEMINI
				   ? "\"contents\":[]"
				   : "\"model\":\"m\",\"max_tokens\":9,\"messages\":[]",
			   rows[i].member);
		if (read_body(rows[i].dialect, buf_bytes(&body), &scan, &request, NULL) !=
		    ERR_INVALID)
			fail_msg("%s: taken", body.data);
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		buf_clear(&body);
		buf_printf(&body,
			   words[i].dialect == DIALECT_RESPONSES ? "{\"model\":\"m\",\"input\":%s}"
			   : words[i].dialect == DIALECT_GEMINI
				   ? "{\"contents\":%s}"
				   : "{\"model\":\"m\",\"max_tokens\":9,\"messages\":%s}",
			   words[i].body);
		if (read_body(words[i].dialect, buf_bytes(&body), &scan, &request, NULL) !=
		    ERR_INVALID)
			fail_msg("%s: taken", body.data);
	}
	buf_release(&body);
}

/* Words that only speak of such names, and the caller's own values, are taken. */
static void test_words_about_files_are_taken(void **state)
{
	(void)state;
	facts_of(DIALECT_RESPONSES,
		 "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"What is a "
		 "\\\"file_id\\\": "
		 "and an item_reference? "
		 "\\u00e9\"},{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c\","
		 "\"name\":\"f\",\"arguments\":\"{\\\"file_id\\\":1}\"}]}");
	facts_of(DIALECT_RESPONSES,
		 "{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"function\","
		 "\"description\":\"of a file_id \\u00e9\",\"parameters\":{\"properties\":{"
		 "\"file_id\":{},\"\\u00e9\":{}}}}]}");
	facts_of(DIALECT_GEMINI,
		 "{\"contents\":[],\"tools\":[{\"googleSearchRetrieval\":{}},{"
		 "\"functionDeclarations\":[{\"name\":\"fileSearch\",\"parameters\":{"
		 "\"properties\":{\"retrieval\":{},\"\\u00e9\":{}}}}]}]}");
	facts_of(DIALECT_ANTHROPIC, "{\"model\":\"m\",\"max_tokens\":9,\"container\":null,"
				    "\"messages\":[{\"role\":\"user\","
				    "\"content\":\"A \\\"file_id\\\" "
				    "\\u00e9\"},{\"role\":\"assistant\",\"content\":[{\"type\":"
				    "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"file_"
				    "id\":1,\"caf\\u00e9\":2}}]}]}");
	facts_of(DIALECT_OPENAI,
		 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
		 "\"file\",\"file\":"
		 "{\"filename\":\"file_id\",\"file_data\":\"data:;base64,\"}},{\"type\":\"input_"
		 "audio\","
		 "\"input_audio\":{\"data\":\"\",\"format\":\"wav\"}}]},{\"role\":\"assistant\","
		 "\"audio\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{"
		 "\"name\":\"f\",\"arguments\":\"{\\\"file_id\\\":\\\"\\u00e9\\\"}\"}}]}]}");
	facts_of(DIALECT_MISTRAL, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_"
				  "calls\":[{\"function\":{"
				  "\"name\":\"f\",\"arguments\":{\"file_id\":1}}}]}]}");
	facts_of(DIALECT_GEMINI, "{\"contents\":[{\"parts\":[{\"text\":\"fileData "
				 "\\u00e9\"},{\"functionCall\":{\"name\":"
				 "\"f\",\"args\":{\"fileData\":1,\"a\\u0062\":2}}}]}]}");
}

static void test_variants_know_their_members(void **state)
{
	struct dialect_request request =
		facts_of(DIALECT_MISTRAL, "{\"model\":\"m\",\"messages\":[],\"random_seed\":1,"
					  "\"safe_prompt\":false,\"stream_options\":{}}");
	(void)state;
	assert_int_equal(request.unknown_count, 1);
	request = facts_of(DIALECT_XAI, "{\"model\":\"m\",\"messages\":[],\"deferred\":false,"
					"\"search_parameters\":{},\"random_seed\":1}");
	assert_int_equal(request.unknown_count, 1);
	assert_int_equal(dialect_variant(DIALECT_OPENAI, DIALECT_MISTRAL), DIALECT_MISTRAL);
	assert_int_equal(dialect_variant(DIALECT_OPENAI, DIALECT_OPENAI), DIALECT_OPENAI);
	assert_int_equal(dialect_variant(DIALECT_GEMINI, DIALECT_XAI), DIALECT_GEMINI);
}

static void test_queries(void **state)
{
	const struct dialect_endpoint *plain = dialect_endpoint_of(DIALECT_GEMINI, false);
	const struct dialect_endpoint *stream = dialect_endpoint_of(DIALECT_GEMINI, true);
	(void)state;
	assert_null(dialect_query_problem(plain, BYTES("")));
	assert_null(dialect_query_problem(plain, BYTES("alt=json")));
	assert_null(dialect_query_problem(stream, BYTES("alt=sse")));
	assert_null(dialect_query_problem(dialect_endpoint_of(DIALECT_ANTHROPIC, false),
					  BYTES("beta=true")));
	assert_non_null(strstr(dialect_query_problem(stream, BYTES("")), "alt=sse"));
	assert_non_null(dialect_query_problem(stream, BYTES("alt=json")));
	assert_non_null(dialect_query_problem(plain, BYTES("alt=sse")));
	assert_non_null(dialect_query_problem(stream, BYTES("alt=sse&key=plk_secret")));
	assert_null(strstr(dialect_query_problem(stream, BYTES("alt=sse&key=plk_secret")), "plk_"));
	assert_true(dialect_query_has_key(BYTES("alt=sse&key=plk_secret")));
	assert_false(dialect_query_has_key(BYTES("alt=key&monkey=1")));
}

static void test_targets(void **state)
{
	static const struct {
		enum dialect_id dialect;
		bool stream;
		const char *base, *wanted;
	} rows[] = {
		{DIALECT_ANTHROPIC, false, "",          "/v1/messages"                       },
		{DIALECT_OPENAI,    true,  "/api/v1",   "/api/v1/chat/completions"           },
		{DIALECT_MISTRAL,   true,  "/v1/",      "/v1/chat/completions"               },
		{DIALECT_RESPONSES, true,  "/x",        "/x/v1/responses"                    },
		{DIALECT_GEMINI,    false, "",          "/v1beta/models/up-1:generateContent"},
		{DIALECT_GEMINI,    true,  "/g/v1beta",
		 "/g/v1beta/models/up-1:streamGenerateContent?alt=sse"                       },
		{DIALECT_GEMINI,    false, "/v1",       "/v1/models/up-1:generateContent"    },
	};
	char out[256];
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct dialect_endpoint *endpoint =
			dialect_endpoint_of(rows[i].dialect, rows[i].stream);
		*dialect_write_target(endpoint, bytes_from(rows[i].base), BYTES("up-1"), out) =
			'\0';
		assert_string_equal(out, rows[i].wanted);
	}
}

static void test_many_unknown_members_are_counted(void **state)
{
	struct dialect_request request =
		facts_of(DIALECT_OPENAI, "{\"model\":\"m\",\"messages\":[],\"a\":1,\"b\":1,\"c\":1,"
					 "\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1}");
	(void)state;
	assert_int_equal(request.unknown_count, 9);
	assert_true(bytes_is(request.unknown[7], "h"));
}

static void test_wrong_requests_name_the_key(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *body, *word;
	} rows[] = {
		{DIALECT_OPENAI,    "[1]",							      "object"                              },
		{DIALECT_OPENAI,    "{\"messages\":[]}",                                                "model"                               },
		{DIALECT_OPENAI,    "{\"model\":\"m\"}",                                                "messages"                            },
		{DIALECT_OPENAI,    "{\"model\":1,\"messages\":[]}",                                    "model"                               },
		{DIALECT_OPENAI,    "{\"model\":\"\",\"messages\":[]}",                                 "model"                               },
		{DIALECT_OPENAI,    "{\"model\":\"a b\",\"messages\":[]}",                              "model"                               },
		{DIALECT_OPENAI,    "{\"model\":\"\\u0061\",\"messages\":[]}",                          "model"                               },
		{DIALECT_OPENAI,    "{\"model\":\"m\xc3\xa9\",\"messages\":[]}",                        "model"                               },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":{}}",                                "messages"                            },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"stream\":1}",                   "stream"                              },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"stream\":\"true\"}",            "stream"                              },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"n\":0}",                        "n"                                   },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"n\":1.0}",                      "n"                                   },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"max_tokens\":1e3}",
		 "max_tokens"														 },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"max_tokens\":-1}",
		 "max_tokens"														 },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"max_tokens\":\"5\"}",
		 "max_tokens"														 },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"max_tokens\":2147483649}",
		 "max_tokens"														 },
		{DIALECT_OPENAI,
		 "{\"model\":\"m\",\"messages\":[],\"max_tokens\":1,\"max_completion_tokens\":1}",      "max_tokens and max_completion_tokens"},
		{DIALECT_OPENAI,    "{\"Model\":\"m\",\"messages\":[]}",                                "\"model\""                           },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"Stream\":true}",                "\"stream\""                          },
		{DIALECT_OPENAI,    "{\"model\":\"m\",\"messages\":[],\"stream_options\":true}",
		 "stream_options"													     },
		{DIALECT_OPENAI,
		 "{\"model\":\"m\",\"messages\":[],\"stream_options\":{\"include_usage\":1}}",          "include_usage"                       },
		{DIALECT_OPENAI,
		 "{\"model\":\"m\",\"messages\":[],\"stream_options\":{\"include_usage\":true,"
		 "\"include_usage\":false}}",							   "include_usage"                       },
		{DIALECT_OPENAI,
		 "{\"model\":\"m\",\"messages\":[],\"stream_options\":{\"Include_usage\":true}}",       "include_usage"                       },
		{DIALECT_OPENAI,
		 "{\"model\":\"m\",\"messages\":[],\"stream_options\":{\"include\\u005fusage\":"
		 "true}}",									      "stream_options"                      },
		{DIALECT_RESPONSES, "{\"model\":\"m\"}",                                                "input"                               },
		{DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":{}}",                                   "input"                               },
		{DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"include\":[1]}",                "include"                             },
		{DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"tools\":[{}]}",                 "tools"                               },
		{DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"Store\":true}",
		 "\"store\""														  },
		{DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"max_output_tokens\":\"1\"}",
		 "max_output_tokens"													  },
		{DIALECT_GEMINI,    "{}",							       "contents"                            },
		{DIALECT_GEMINI,    "{\"contents\":{}}",                                                "contents"                            },
		{DIALECT_GEMINI,    "{\"contents\":[],\"generation_config\":{}}",
		 "\"generationConfig\""												       },
		{DIALECT_GEMINI,    "{\"contents\":[],\"system_instruction\":{}}",
		 "\"systemInstruction\""												      },
		{DIALECT_GEMINI,    "{\"contents\":[],\"generationConfig\":{\"max_output_tokens\":1}}",
		 "\"maxOutputTokens\""													},
		{DIALECT_GEMINI,
		 "{\"contents\":[],\"generationConfig\":{\"candidateCount\":1,"
		 "\"candidateCount\":2}}",							      "twice"			       },
		{DIALECT_GEMINI,
		 "{\"contents\":[],\"generationConfig\":{\"candidate\\u0043ount\":2}}",                 "escapes"                             },
		{DIALECT_GEMINI,    "{\"contents\":[],\"generationConfig\":1}",                         "generationConfig"                    },
		{DIALECT_GEMINI,    "{\"contents\":[],\"cached_content\":\"c\"}",                       "\"cachedContent\""                   },
		{DIALECT_ANTHROPIC, "{\"model\":\"m\",\"messages\":[],\"tools\":1}",                    "tools"                               },
		{DIALECT_ANTHROPIC, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":true}",
		 "max_tokens"														 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct json_scan scan;
		struct dialect_request request;
		struct err err = ERR_INIT;
		if (read_body(rows[i].dialect, bytes_from(rows[i].body), &scan, &request, &err) !=
			    ERR_INVALID ||
		    !strstr(err.message, rows[i].word))
			fail_msg("%s: %s", rows[i].body, err.message);
	}
}

static void test_parts_that_are_not_text(void **state)
{
	static const struct {
		const char *body, *type; /* NULL: all are text */
	} rows[] = {
		{"{\"model\":\"m\",\"messages\":[{\"content\":\"x\"},{\"content\":[{\"type\":"
		 "\"text\"},{\"type\":\"tool_use\"}]}]}",		      NULL   },
		{"{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":\"text\"},{\"type\":"
		 "\"image\"}]}]}",					     "image"},
		{"{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":\"tool_result\","
		 "\"content\":[{\"type\":\"image\"}]}]}]}",		    "image"},
		{"{\"model\":\"m\",\"messages\":[{\"content\":[{\"text\":\"x\"}]}]}",           ""     },
		{"{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":\"im\\u0061ge\"}]}]}", ""     },
		{"{\"model\":\"m\",\"system\":[{\"type\":\"document\"}],\"messages\":[]}",
		 "document"									    },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes body = bytes_from(rows[i].body), type;
		struct json_scan scan;
		struct dialect_request request;
		assert_int_equal(read_body(DIALECT_ANTHROPIC, body, &scan, &request, NULL), ERR_OK);
		assert_int_equal(dialect_request_non_text(&request, &scan, body, &type),
				 rows[i].type != NULL);
		if (rows[i].type)
			assert_true(bytes_is(type, rows[i].type));
	}
}

/* ---- splicing ---- */

static void rewrite(enum dialect_id dialect, const char *body, const char *model, bool want_usage,
		    const char *wanted, bool added)
{
	struct dialect_request request = facts_of(dialect, body);
	struct dialect_rewrite out;
	struct buf text = BUF_INIT(4096);
	dialect_rewrite(&request, bytes_from(body), bytes_from(model), want_usage, &out);
	for (unsigned i = 0; i < out.count; i++)
		buf_append_bytes(&text, out.parts[i]);
	assert_string_equal(text.data, wanted);
	assert_int_equal(out.size, text.size);
	assert_int_equal(out.usage_added, added);
	buf_release(&text);
}

static void test_rewriting(void **state)
{
	(void)state;
	rewrite(DIALECT_ANTHROPIC, " { \"model\" : \"m\" , \"messages\":[]} ", "", true,
		" { \"model\" : \"m\" , \"messages\":[]} ", false);
	rewrite(DIALECT_ANTHROPIC, "{\"messages\":[],\"model\":\"m\"}", "north-1-2026", true,
		"{\"messages\":[],\"model\":\"north-1-2026\"}", false);
	rewrite(DIALECT_ANTHROPIC, "{\"model\":\"m\",\"messages\":[],\"stream\":true}", "m", true,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true}", false);
	rewrite(DIALECT_GEMINI, "{\"contents\":[]}", "x", true, "{\"contents\":[]}", false);
	rewrite(DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"a\",\"stream\":true}", "x", true,
		"{\"model\":\"x\",\"input\":\"a\",\"stream\":true}", false);
	rewrite(DIALECT_MISTRAL, "{\"model\":\"m\",\"messages\":[],\"stream\":true}", "x", true,
		"{\"model\":\"x\",\"messages\":[],\"stream\":true}", false);
	rewrite(DIALECT_OPENAI, "{\"model\":\"m\",\"messages\":[]}", "x", true,
		"{\"model\":\"x\",\"messages\":[]}", false);
	rewrite(DIALECT_OPENAI, " {\"model\":\"m\",\"messages\":[],\"stream\":true}", "x", true,
		" {\"stream_options\":{\"include_usage\":true},\"model\":\"x\",\"messages\":[],"
		"\"stream\":true}",
		true);
	rewrite(DIALECT_OPENAI, "{\"model\":\"m\",\"messages\":[],\"stream\":true}", "", false,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true}", false);
	rewrite(DIALECT_OPENAI,
		"{\"stream_options\":{ },\"model\":\"m\",\"messages\":[],\"stream\":true}", "x",
		true,
		"{\"stream_options\":{\"include_usage\":true },\"model\":\"x\",\"messages\":[],"
		"\"stream\":true}",
		true);
	rewrite(DIALECT_OPENAI,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"include_obfuscation\":false}}",
		"x", true,
		"{\"model\":\"x\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"include_usage\":true,\"include_obfuscation\":false}}",
		true);
	rewrite(DIALECT_OPENAI,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"a\":1,\"include_usage\" : false}}",
		"m", true,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"a\":1,\"include_usage\" : true}}",
		true);
	rewrite(DIALECT_OPENAI,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":null}", "",
		true,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"include_usage\":true}}",
		true);
	rewrite(DIALECT_OPENAI,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"include_usage\":true}}",
		"", true,
		"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":"
		"{\"include_usage\":true}}",
		false);
}

static void test_credential_fields(void **state)
{
	struct buf out = BUF_INIT(256);
	(void)state;
	dialect_credential_fields(DIALECT_ANTHROPIC, "k1", &out);
	assert_string_equal(out.data, "x-api-key: k1\r\nanthropic-version: 2023-06-01\r\n");
	buf_clear(&out);
	dialect_credential_fields(DIALECT_OPENAI, "k2", &out);
	assert_string_equal(out.data, "authorization: Bearer k2\r\n");
	buf_clear(&out);
	dialect_credential_fields(DIALECT_GEMINI, "k3", &out);
	assert_string_equal(out.data, "x-goog-api-key: k3\r\n");
	buf_clear(&out);
	dialect_key_field(DIALECT_ANTHROPIC, "k4", &out);
	assert_string_equal(out.data, "x-api-key: k4\r\n");
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_anthropic_facts),
		cmocka_unit_test(test_openai_facts),
		cmocka_unit_test(test_responses_facts),
		cmocka_unit_test(test_gemini_facts),
		cmocka_unit_test(test_what_is_kept_upstream_is_refused),
		cmocka_unit_test(test_words_about_files_are_taken),
		cmocka_unit_test(test_variants_know_their_members),
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_many_unknown_members_are_counted),
		cmocka_unit_test(test_wrong_requests_name_the_key),
		cmocka_unit_test(test_parts_that_are_not_text),
		cmocka_unit_test(test_rewriting),
		cmocka_unit_test(test_credential_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
