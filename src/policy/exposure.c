#include "policy/exposure.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct exposure *exposure_new(const uint8_t root[static SHA256_SIZE], const char *provider,
			      uint32_t leaf_count)
{
	if (strlen(provider) >= EXPOSURE_PROVIDER_SIZE)
		return NULL;
	struct exposure *exposure =
		calloc(1, sizeof(*exposure) + (size_t)leaf_count * sizeof(exposure->first_ms[0]));
	if (!exposure)
		return NULL;
	atomic_init(&exposure->references, 1);
	memcpy(exposure->root, root, SHA256_SIZE);
	memcpy(exposure->provider, provider, strlen(provider) + 1);
	exposure->leaf_count = leaf_count;
	return exposure;
}

struct exposure *exposure_hold(struct exposure *exposure)
{
	atomic_fetch_add(&exposure->references, 1);
	return exposure;
}

void exposure_drop(struct exposure *exposure)
{
	if (exposure && atomic_fetch_sub(&exposure->references, 1) == 1)
		free(exposure);
}

bool exposure_note(struct exposure *exposure, uint32_t leaf, int64_t now_ms, int64_t since_ms)
{
	assert(leaf < exposure->leaf_count);
	int64_t seen = 0;
	if (atomic_compare_exchange_strong(&exposure->first_ms[leaf], &seen, now_ms)) {
		atomic_store(&exposure->changed, true);
		return false;
	}
	return seen < since_ms;
}

bool exposure_before(const struct exposure *exposure, uint32_t leaf, int64_t since_ms)
{
	assert(leaf < exposure->leaf_count);
	int64_t seen = atomic_load(&exposure->first_ms[leaf]);
	return seen != 0 && seen < since_ms;
}

void exposure_restore(struct exposure *exposure, uint32_t leaf, int64_t first_ms)
{
	if (leaf >= exposure->leaf_count || first_ms <= 0)
		return;
	int64_t seen = atomic_load(&exposure->first_ms[leaf]);
	if (seen != 0 && seen <= first_ms)
		return;
	atomic_store(&exposure->first_ms[leaf], first_ms);
	atomic_store(&exposure->changed, true);
}
