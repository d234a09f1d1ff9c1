/* The source of c/driver.c, NUL-terminated; made by the build. */
#ifndef GRADE_C_DRIVER_H
#define GRADE_C_DRIVER_H

extern const char c_driver[];

#endif
