/* Preloaded into a program (LD_PRELOAD), it counts what each thread takes from the heap and gives
 * back, in the file named by ALLOCATIONS_FILE, where a test reads it while the program runs: one
 * row {thread id, allocations, frees, bytes asked for} of 64-bit numbers a thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROWS_MAX 256

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

struct row {
	_Atomic uint64_t thread, allocations, frees, bytes;
};

static struct row spare; /* before the file is there, and for threads beyond the table */
static struct row *rows;
static atomic_uint used;
static __thread struct row *mine __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void open_table(void)
{
	const char *path = getenv("ALLOCATIONS_FILE");
	int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (file < 0)
		return;
	if (ftruncate(file, ROWS_MAX * sizeof(struct row)) == 0) {
		void *map = mmap(NULL, ROWS_MAX * sizeof(struct row), PROT_READ | PROT_WRITE,
				 MAP_SHARED, file, 0);
		if (map != MAP_FAILED)
			rows = map;
	}
	close(file);
}

static struct row *row(void)
{
	if (mine)
		return mine;
	if (!rows)
		return &spare;
	unsigned number = atomic_fetch_add(&used, 1);
	mine = number < ROWS_MAX ? &rows[number] : &spare;
	atomic_store(&mine->thread, (uint64_t)syscall(SYS_gettid));
	return mine;
}

static void count(size_t size)
{
	struct row *to = row();
	atomic_fetch_add_explicit(&to->allocations, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&to->bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
	count(size);
	return __libc_malloc(size);
}

void *calloc(size_t count_of, size_t size)
{
	count(count_of * size);
	return __libc_calloc(count_of, size);
}

void *realloc(void *old, size_t size)
{
	count(size);
	return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
	count(size);
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *memory = memalign(alignment, size);
	if (!memory)
		return ENOMEM;
	*out = memory;
	return 0;
}

void free(void *memory)
{
	if (memory)
		atomic_fetch_add_explicit(&row()->frees, 1, memory_order_relaxed);
	__libc_free(memory);
}
