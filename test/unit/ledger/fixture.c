#include "fixture.h"

#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture_faults fixture_faults;

void fixture_no_faults(void)
{
	fixture_faults.fail_sync_at = fixture_faults.fail_write_at = 0;
	fixture_faults.limited = false;
	fixture_faults.space = 0;
	fixture_faults.syncs = fixture_faults.writes = 0;
}

/* ---- files that fail ---- */

static const struct env_ops *real;
static struct env_ops faulty;

static enum err_code faulty_write(struct env_file *file, uint64_t offset, const void *data,
				  size_t size, struct err *err)
{
	struct fixture_faults *faults = &fixture_faults;
	faults->writes++;
	if (faults->fail_write_at && faults->writes >= faults->fail_write_at) {
		/* Half of it, as a full or dying disk leaves it. */
		real->file_write(file, offset, data, size / 2, err);
		return ERR_SET(err, ERR_ENVIRONMENT, "an injected write error");
	}
	if (faults->limited) {
		uint64_t old = 0;
		real->file_size(file, &old, err);
		int64_t grows = offset + size > old ? (int64_t)(offset + size - old) : 0;
		if (grows > faults->space)
			return ERR_SET(err, ERR_NO_SPACE, "an injected full disk");
		faults->space -= grows;
	}
	return real->file_write(file, offset, data, size, err);
}

static enum err_code faulty_sync(struct env_file *file, struct err *err)
{
	fixture_faults.syncs++;
	if (fixture_faults.fail_sync_at && fixture_faults.syncs >= fixture_faults.fail_sync_at)
		return ERR_SET(err, ERR_ENVIRONMENT, "an injected sync error");
	return real->file_sync(file, err);
}

/* A start makes sure of the folders above the log's, up to the root, which is on a disk: that costs
 * more than all else here, and is what env's own tests are about. */
static enum err_code sync_below_root(struct env *env, const char *path, struct err *err)
{
	return strcmp(path, "/") == 0 ? ERR_OK : real->sync_directory(env, path, err);
}

static enum err_code faulty_open(struct env *env, const char *path, unsigned flags,
				 struct env_file **out, struct err *err)
{
	enum err_code code = real->file_open(env, path, flags, out, err);
	if (code == ERR_OK)
		(*out)->ops = &faulty;
	return code;
}

/* ---- life ---- */

static void on_fatal(void *argument, const struct err *err)
{
	struct fixture *fixture = argument;
	fixture->fatal_err = *err;
	atomic_fetch_add(&fixture->fatal, 1);
}

static void on_rot(void *argument, const struct err *err)
{
	struct fixture *fixture = argument;
	fixture->rot_err = *err;
	atomic_fetch_add(&fixture->rots, 1);
}

static void on_idle(void *argument)
{
	struct fixture *fixture = argument;
	log_producer_turn(&fixture->producer, true);
}

void fixture_init(struct fixture *fixture)
{
	uint8_t seed[32] = {42};
	memset(fixture, 0, sizeof(*fixture));
	fixture_no_faults();
	/* In memory where that is to be had: a sync costs nothing there. */
	strcpy(fixture->directory, "/dev/shm/parley-test-log-XXXXXX");
	if (!mkdtemp(fixture->directory)) {
		strcpy(fixture->directory, "/tmp/parley-test-log-XXXXXX");
		assert_non_null(mkdtemp(fixture->directory));
	}
	fixture->env = env_os_new(1);
	real = fixture->env->ops;
	faulty = *real;
	faulty.file_open = faulty_open;
	faulty.file_write = faulty_write;
	faulty.file_sync = faulty_sync;
	faulty.sync_directory = sync_below_root;
	fixture->env->ops = &faulty;
	fixture->key = ed25519_from_seed(seed);
	fixture->options = (struct log_options){
		.directory = fixture->directory,
		.origin = FIXTURE_ORIGIN,
		.key = fixture->key,
		.secret = "a secret of thirty-two bytes....",
		.segment_size = LOG_SEGMENT_SIZE_MIN,
		.fatal = on_fatal,
		.rot = on_rot,
		.scrub_rate = UINT64_C(1) << 40,
		.argument = fixture,
	};
}

void fixture_release(struct fixture *fixture)
{
	char command[1024];
	fixture_stop(fixture);
	ed25519_free(fixture->key);
	env_os_free(fixture->env);
	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->directory);
	assert_int_equal(system(command), 0);
}

enum err_code fixture_open(struct fixture *fixture)
{
	fixture->log_loop = env_loop_new(fixture->env, "log", true);
	fixture->care_loop = fixture->seals ? env_loop_new(fixture->env, "care", true) : NULL;
	fixture->options.care_loop = fixture->care_loop;
	enum err_code code = log_open(fixture->env, fixture->log_loop, &fixture->options,
				      &fixture->log, &fixture->err);
	if (code == ERR_OK)
		return code;
	env_loop_free(fixture->log_loop);
	env_loop_free(fixture->care_loop);
	fixture->log_loop = fixture->care_loop = NULL;
	return code;
}

void fixture_start(struct fixture *fixture)
{
	assert_works(fixture_open(fixture), &fixture->err);
	fixture->loop = env_loop_new(fixture->env, "producer", false);
	fixture->loop->idle = on_idle;
	fixture->loop->idle_argument = fixture;
	log_producer_init(&fixture->producer, fixture->log, fixture->loop);
	assert_works(env_loop_start(fixture->log_loop, -1, &fixture->err), &fixture->err);
	assert_works(env_loop_start(fixture->loop, -1, &fixture->err), &fixture->err);
	if (fixture->care_loop)
		assert_works(env_loop_start(fixture->care_loop, -1, &fixture->err), &fixture->err);
	fixture->running = true;
}

void fixture_halt(struct fixture *fixture)
{
	if (!fixture->running)
		return;
	env_loop_stop(fixture->loop);
	env_loop_stop(fixture->log_loop);
	env_loop_join(fixture->loop);
	env_loop_join(fixture->log_loop);
	if (fixture->care_loop) {
		env_loop_stop(fixture->care_loop);
		env_loop_join(fixture->care_loop);
	}
	fixture->running = false;
}

void fixture_stop(struct fixture *fixture)
{
	fixture_halt(fixture);
	log_producer_close(&fixture->producer);
	enum err_code code = log_close(fixture->log, &fixture->err);
	if (code != ERR_OK)
		fail_msg("close: %s", fixture->err.message);
	fixture->log = NULL;
	env_loop_free(fixture->loop);
	env_loop_free(fixture->log_loop);
	env_loop_free(fixture->care_loop);
	fixture->loop = fixture->log_loop = fixture->care_loop = NULL;
}

/* ---- records ---- */

struct item {
	struct log_entry entry;
	struct fixture *fixture;
	struct env_message message;
	sem_t *submitted;
	char text[600];
};

static void on_durable(struct log_entry *entry)
{
	struct item *item = (struct item *)entry;
	struct fixture *fixture = item->fixture;
	free(item);
	atomic_fetch_sub(&fixture->waiting, 1);
}

static void submit_item(struct env_message *message)
{
	struct item *item = (struct item *)((char *)message - offsetof(struct item, message));
	log_submit(&item->fixture->producer, &item->entry);
	sem_post(item->submitted);
}

uint64_t fixture_submit(struct fixture *fixture, enum record_kind kind, uint64_t admit_index)
{
	static const uint8_t digest[32] = {1, 2, 3};
	char id[RECORD_ID_SIZE + 1], admit[RECORD_ID_SIZE + 1] = "";
	struct item *item = calloc(1, sizeof(*item));
	uint64_t index = log_take_index(fixture->log);
	struct record record = RECORD_INIT;
	log_record_id(fixture->log, index, id);
	record.kind = kind;
	record.id = id;
	record.time_ms = 1793534400123 + (int64_t)index;
	record.org = BYTES("o-1234");
	record.grant = BYTES("south-eval-1");
	record.request = kind == RECORD_ADMIT ? digest : NULL;
	record.response = kind == RECORD_SETTLE ? digest : NULL;
	if (admit_index != LOG_NO_INDEX) {
		log_record_id(fixture->log, admit_index, admit);
		record.admit = bytes_from(admit);
	}
	item->fixture = fixture;
	item->entry =
		(struct log_entry){.index = index,
				   .admit_index = admit_index,
				   .kind = kind,
				   .units = 1,
				   .text = item->text,
				   .size = record_format(&record, item->text, sizeof(item->text)),
				   .durable = on_durable};
	atomic_fetch_add(&fixture->waiting, 1);
	sem_t submitted;
	sem_init(&submitted, 0, 0);
	item->submitted = &submitted;
	item->message.run = submit_item;
	env_post(fixture->loop, &item->message);
	sem_wait(&submitted);
	sem_destroy(&submitted);
	return index;
}

void fixture_wait(struct fixture *fixture)
{
	while (atomic_load(&fixture->waiting) > 0 && atomic_load(&fixture->fatal) == 0)
		usleep(50);
}

static void reserve(struct fixture *fixture, unsigned units)
{
	unsigned tries = 0;
	while (!log_reserve(fixture->log, units)) {
		assert_true(++tries < 20000);
		usleep(500);
	}
}

void fixture_append(struct fixture *fixture, unsigned count, bool settle)
{
	for (unsigned i = 0; i < count; i++) {
		reserve(fixture, 1 + settle);
		uint64_t admit = fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
		if (settle)
			fixture_submit(fixture, RECORD_SETTLE, admit);
	}
	fixture_wait(fixture);
	assert_int_equal(fixture->waiting, 0);
}

const char *fixture_vkey(struct fixture *fixture)
{
	struct buf text = buf_over(fixture->vkey, sizeof(fixture->vkey));
	log_append_vkey(fixture->log, &text);
	return fixture->vkey;
}

void fixture_checkpoint(struct fixture *fixture, struct buf *note, struct checkpoint *head)
{
	struct log_stats stats;
	struct note_key key;
	for (unsigned i = 0; i < 5000; i++) {
		log_get_stats(fixture->log, &stats);
		if (stats.checkpoint == stats.records)
			break;
		log_checkpoint_now(fixture->log);
		usleep(1000);
	}
	assert_int_equal(stats.checkpoint, stats.records);
	buf_clear(note);
	assert_works(log_read_checkpoint(fixture->log, note, &fixture->err), &fixture->err);
	assert_works(note_key_parse(bytes_from(fixture_vkey(fixture)), &key, &fixture->err),
		     &fixture->err);
	assert_works(checkpoint_open(buf_bytes(note), &key, head, &fixture->err), &fixture->err);
}

/* ---- files ---- */

void fixture_read(const char *path, struct buf *out)
{
	char chunk[65536];
	size_t got;
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_append(out, chunk, got);
	fclose(file);
	assert_false(out->failed);
}

void fixture_write(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

void fixture_path(const struct fixture *fixture, const char *name, char out[static 1024])
{
	snprintf(out, 1024, "%s/%s", fixture->directory, name);
}
