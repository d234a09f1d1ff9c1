#include "bench/output.h"

#define STEP ((size_t)64 << 10)
#define BUFFER_MAX ((size_t)64 << 20)

void output_open(struct output *output, struct env *env, const char *path)
{
	*output = (struct output){0};
	buf_init(&output->buf, BUFFER_MAX);
	if (env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &output->file,
			  &output->err) == ERR_OK)
		env_file_truncate(output->file, 0, &output->err);
}

static void flush(struct output *output)
{
	if (output->err.code != ERR_OK)
		return;
	if (output->buf.failed) {
		ERR_SET(&output->err, ERR_NO_MEMORY, "out of memory writing the results");
		return;
	}
	if (output->buf.size > 0 && env_file_write(output->file, output->offset, output->buf.data,
						   output->buf.size, &output->err) == ERR_OK)
		output->offset += output->buf.size;
	buf_clear(&output->buf);
}

void output_step(struct output *output)
{
	if (output->buf.size >= STEP || output->buf.failed)
		flush(output);
}

enum err_code output_close(struct output *output, struct err *err)
{
	flush(output);
	if (output->err.code == ERR_OK)
		env_file_sync(output->file, &output->err);
	env_file_close(output->file);
	buf_release(&output->buf);
	if (output->err.code != ERR_OK)
		*err = output->err;
	return output->err.code;
}
