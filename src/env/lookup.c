#include "env/lookup.h"

#include <arpa/inet.h>

static void job_done(struct env_job *job)
{
	struct env_lookup *lookup = (struct env_lookup *)job;
	lookup->done(lookup);
}

static void numeric_done(struct env_message *message)
{
	struct env_lookup *lookup = (struct env_lookup *)message;
	lookup->done(lookup);
}

static bool read_numeric(struct env_lookup *lookup)
{
	struct env_address *first = &lookup->addresses[0];
	memset(first, 0, sizeof(*first));
	first->port = lookup->port;
	if (inet_pton(AF_INET, lookup->host, first->ip) == 1)
		first->family = ENV_IPV4;
	else if (inet_pton(AF_INET6, lookup->host, first->ip) == 1)
		first->family = ENV_IPV6;
	return first->family != 0;
}

void env_lookup_begin(struct env_loop *loop, struct env_lookup *lookup,
		      void (*run)(struct env_job *job))
{
	lookup->count = lookup->ttl_s = 0;
	lookup->err = (struct err)ERR_INIT;
	if (read_numeric(lookup)) {
		lookup->count = 1;
		lookup->ttl_s = UINT32_MAX;
		lookup->job.message.run = numeric_done;
		env_post(loop, &lookup->job.message);
		return;
	}
	lookup->job.run = run;
	lookup->job.done = job_done;
	env_job_start(loop, &lookup->job);
}
