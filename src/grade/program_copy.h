/* The folder of a suite whose scorer is a program of its own (scorer_program.h), as a run takes it:
 * a copy that only the sandbox reads, and one digest over all of its files. The plan holds the
 * digest before anything is asked, the bundle holds the files, and `verify` compares.
 *
 * The digest is SHA-256 over a line "DIGEST  PATH\n" for each file, in the order of the paths'
 * bytes: what `sha256sum` prints. Names that begin with a dot, and __pycache__, are left out: the
 * program does not see them. */
#ifndef GRADE_PROGRAM_COPY_H
#define GRADE_PROGRAM_COPY_H

#include "base/sha256.h"
#include "env/env.h"

#define PROGRAM_COPY_BYTES_MAX ((uint64_t)256 << 20)
#define PROGRAM_COPY_FILES_MAX 1024u
#define PROGRAM_COPY_DEPTH_MAX 5u /* folders above a file */

struct program_copy {
	char *path; /* owned; absolute; NULL: there is no copy */
	int lock;   /* where there is a path: held while this process lives */
	uint8_t digest[SHA256_SIZE];
	size_t files; /* besides suite.yaml and items.jsonl */
};

/* The digest alone, of the folder as it is. */
enum err_code program_copy_digest(struct env *env, const char *folder, struct program_copy *out,
				  struct err *err);
/* The same of a copy in a new folder under TMPDIR (or /tmp), which any uid can read, so that the
 * sandbox's can; nothing that changes in `folder` later changes the copy. ERR_TOO_LARGE names the
 * bounds above. Copies of this user there whose process was killed are removed. program_copy_remove
 * is needed in every case. */
enum err_code program_copy_make(struct env *env, const char *folder, struct program_copy *out,
				struct err *err);
void program_copy_remove(struct env *env, struct program_copy *copy);
/* The copy's files into a folder that is there, all but suite.yaml and items.jsonl. */
enum err_code program_copy_into(struct env *env, const struct program_copy *copy,
				const char *folder, struct err *err);

#endif
