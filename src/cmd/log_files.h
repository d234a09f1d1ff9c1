/* The verb of `parley log` that asks the running gateway. */
#ifndef CMD_LOG_FILES_H
#define CMD_LOG_FILES_H

int log_files(int argc, char **argv);

#endif
