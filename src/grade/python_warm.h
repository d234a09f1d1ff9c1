/* The source of python/driver.py and python/warm.py, NUL-terminated; made by the build. */
#ifndef GRADE_PYTHON_WARM_H
#define GRADE_PYTHON_WARM_H

extern const char python_warm[];

#endif
