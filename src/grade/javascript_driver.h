/* The source of javascript/driver.js, NUL-terminated; made by the build. */
#ifndef GRADE_JAVASCRIPT_DRIVER_H
#define GRADE_JAVASCRIPT_DRIVER_H

extern const char javascript_driver[];

#endif
