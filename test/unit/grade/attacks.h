/* Programs that want a score they didn't earn, or want out. None computes a sum. */
#ifndef TEST_UNIT_GRADE_ATTACKS_H
#define TEST_UNIT_GRADE_ATTACKS_H

struct attack {
	const char *name;
	const char *code; /* should define add(a, b) */
};

/* Each ends with an entry without a name. */
extern const struct attack attacks_python[], attacks_javascript[], attacks_c[];

#endif
