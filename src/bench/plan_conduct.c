/* What a plan says of how providers are looked at: which models are said to be one. */
#include "bench/plan.h"

enum err_code plan_add_same(struct plan *plan, const char *text, struct err *err)
{
	struct bytes names[2];
	unsigned places[2];
	names[0] = bytes_split(bytes_from(text), '=', &names[1]);
	if (!names[1].data || names[1].size == 0)
		return ERR_SET(err, ERR_USAGE,
			       "\"%s\": write A=B, the names of two models that are said to be one",
			       text);
	for (unsigned side = 0; side < 2; side++) {
		unsigned i = 0;
		while (i < plan->model_count && !bytes_is(names[side], plan->models[i].name))
			i++;
		if (i == plan->model_count)
			return ERR_SET(err, ERR_USAGE, "\"%s\": there is no model \"%.*s\"", text,
				       BYTES_ARG(names[side]));
		places[side] = i;
	}
	if (places[0] == places[1])
		return ERR_SET(err, ERR_USAGE, "\"%s\": that is one model, not two", text);
	if (plan->same_count == CONDUCT_SAME_MAX)
		return ERR_SET(err, ERR_USAGE, "more than %u pairs of models", CONDUCT_SAME_MAX);
	plan->same[plan->same_count++] = (struct conduct_same){places[0], places[1]};
	return ERR_OK;
}

enum err_code plan_check_same(const struct plan *plan, struct err *err)
{
	for (unsigned i = 0; i < plan->same_count; i++) {
		const struct plan_model *a = &plan->models[plan->same[i].a];
		const struct plan_model *b = &plan->models[plan->same[i].b];
		if (a->replay || b->replay)
			return ERR_SET(
				err, ERR_USAGE,
				"same: \"%s=%s\": answers of %s are read from a file (replay@), "
				"which "
				"shows no times: only models that are both asked can be compared; "
				"leave the pair out (their scores are compared by every run)",
				a->name, b->name, a->replay ? a->name : b->name);
	}
	return ERR_OK;
}

void plan_conduct(const struct plan *plan, struct conduct *conduct)
{
	conduct->model_count = plan->model_count;
	for (unsigned i = 0; i < plan->model_count; i++)
		conduct->models[i] = (struct conduct_model){
			.name = plan->models[i].name, .stored = plan->models[i].replay != NULL};
	conduct->blind_share = plan->blind;
	conduct->same_count = plan->same_count;
	memcpy(conduct->same, plan->same, sizeof(plan->same));
}
