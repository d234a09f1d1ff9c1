/* The source of python/driver.py, NUL-terminated; made by the build. */
#ifndef GRADE_PYTHON_DRIVER_H
#define GRADE_PYTHON_DRIVER_H

extern const char python_driver[];

#endif
